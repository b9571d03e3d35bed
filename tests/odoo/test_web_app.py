"""The web app's route: what a page may ask Odoo for when its user has logged in."""

import asyncio
from urllib.parse import unquote

import httpx
import schemathesis
from requests import PreparedRequest
from requests.auth import AuthBase

from deploy.local.real_odoo.beside import Beside
from tests.developers.contract import call_everything
from tests.developers.test_web_app import DOCUMENT
from tests.developers.world import PARAMETERS
from tests.odoo.api_user import ApiUser

PATH = "/api/v1/generations"


class _Session(AuthBase):
    """The cookie of a browser that has logged in, in place of what schemathesis makes up."""

    def __init__(self, session: httpx.Client) -> None:
        self._cookie = f"session_id={session.cookies['session_id']}"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Cookie"] = self._cookie
        return request


async def test_the_web_app(user: ApiUser, threaded: Beside, http: httpx.AsyncClient) -> None:
    """`POST /api/v1/generations` with the session of Odoo: 202, one job for one key."""

    def ask(**how: object) -> httpx.Response:
        return user.session.post(PATH, headers={"Idempotency-Key": "mine"}, **how)  # type: ignore[arg-type]

    asked = await asyncio.to_thread(ask, json=PARAMETERS)
    again = await asyncio.to_thread(ask, json=PARAMETERS)
    assert (asked.status_code, again.status_code) == (202, 202)
    request_id = asked.json()["requestId"]
    assert (again.json()["requestId"], again.json()["replayed"]) == (request_id, True)
    await user.becomes(request_id, "completed")
    shown = await asyncio.to_thread(user.session.get, f"{PATH}/{request_id}")
    assert (shown.status_code, shown.json()["status"]) == (200, "completed")
    for status, how in {
        415: {"data": {"prompt": "a form"}},
        400: {"content": b"{", "headers": {"Content-Type": "application/json"}},
        422: {"json": PARAMETERS | {"promt": "a word that is not known"}},
    }.items():
        answer = await asyncio.to_thread(lambda how=how: user.session.post(PATH, **how))  # type: ignore[misc]
        assert answer.status_code == status, answer.text
    empty = await asyncio.to_thread(
        lambda: user.session.post(PATH, json=PARAMETERS, headers={"Idempotency-Key": ""})
    )
    assert empty.status_code == 422
    assert (await http.post(threaded.odoo.url + PATH, json=PARAMETERS)).status_code == 401


async def test_the_document_is_kept(user: ApiUser, threaded: Beside) -> None:
    """Whatever somebody sends who is logged in: no 5xx, no answer that the document lacks."""
    mine = (await user.asks()).json()["jobId"]
    document = schemathesis.openapi.from_path(DOCUMENT)
    document.config.update(base_url=threaded.odoo.url)
    turn = 0

    def adapt(case: schemathesis.Case) -> None:
        nonlocal turn
        turn += 1
        if turn % 2 and case.meta is not None and case.meta.generation.mode.is_positive:
            if isinstance(case.body, dict):
                case.body = PARAMETERS
            if "requestId" in case.path_parameters:
                case.path_parameters["requestId"] = mine
        if "\n" in unquote(named := str(case.path_parameters.get("requestId", ""))):
            # No route of Odoo takes it: it answers with a page of its own.
            case.path_parameters["requestId"] = named.replace("%0A", "-").replace("\n", "-")

    with user.desk.set_up(api_rate_per_minute="100000"):
        answers = await asyncio.to_thread(
            call_everything, document, _Session(user.session), examples=10, adapt=adapt
        )
    asked, shown = f"POST {PATH}", f"GET {PATH}/{{requestId}}"
    assert {status for route, status in answers if route == asked} >= {202, 402, 422}
    assert {status for route, status in answers if route == shown} == {200, 404}
    assert await user.balance() == 0
