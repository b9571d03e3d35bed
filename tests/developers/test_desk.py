"""The gateway and an Odoo that answers in every way but the right one."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from starter.gateway.app import create_app
from starter.gateway.developers.settings import DeveloperApi
from tests.activities.http_peer import Peer, Received, Reply, answer, html, listening, reset
from tests.developers.world import PARAMETERS
from tests.starter.entry_points import gateway_settings

KEY = "0" * 40
JOB = {
    "ok": True,
    "jobId": str(uuid4()),
    "correlationId": str(uuid4()),
    "status": "pending",
    "prompt": "a fox",
    "modelId": str(uuid4()),
    "resolution": "256x256",
    "price": 1,
    "charged": True,
    "cancelRequested": False,
    "createdAt": "2026-11-27T08:00:00Z",
}
Says = Callable[[str, list[Any]], Any]


class Odoo:
    """JSON-RPC at a peer: `says` gets a method of `duragen.api` and its arguments.

    What it returns is the result; a dict with "error" alone is the error.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.url = peer.url
        self.asked: list[str] = []
        self.user_id: Any = 7
        self.says: Says = lambda *_: JOB
        peer.says(self._reply)

    async def _reply(self, received: Received, *connection: Any) -> None:
        params = received.json["params"]
        if params["service"] == "common":
            self.asked.append("authenticate")
            said: Any = self.user_id
        else:
            method, arguments = params["args"][4:6]
            self.asked.append(method)
            said = self.says(method, arguments)
        envelope = said if isinstance(said, dict) and set(said) == {"error"} else {"result": said}
        await answer(200, {"jsonrpc": "2.0", "id": 1, **envelope})(received, *connection)


@pytest.fixture
async def odoo() -> AsyncIterator[Odoo]:
    """One that answers."""
    async with listening() as peer:
        yield Odoo(peer)


@pytest.fixture
async def http(odoo: Odoo) -> AsyncIterator[httpx.AsyncClient]:
    """An API user, at a gateway that asks it."""
    table = {"url": odoo.url, "database": "odoo", "login": "gateway", "password": "secret"}
    settings = gateway_settings().model_copy(
        update={"developers": DeveloperApi.model_validate(table)}
    )
    transport = httpx.ASGITransport(create_app(settings))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=headers
    ) as client:
        yield client


def raised(name: str) -> dict[str, Any]:
    """Odoo's way of saying that a method raised."""
    return {"error": {"code": 200, "message": "Odoo Server Error", "data": {"name": name}}}


async def test_it_logs_in_once(odoo: Odoo, http: httpx.AsyncClient) -> None:
    """And again when its login is no longer taken."""
    for _ in range(3):
        assert (await http.post("/v1/generate", json=PARAMETERS)).status_code == 202
    assert odoo.asked == ["authenticate", *["submit"] * 3]
    denied = [raised("odoo.exceptions.AccessDenied"), JOB]
    odoo.says = lambda *_: denied.pop(0)
    assert (await http.post("/v1/generate", json=PARAMETERS)).status_code == 202
    assert odoo.asked[4:] == ["submit", "authenticate", "submit"]


async def test_two_transactions_that_met(odoo: Odoo, http: httpx.AsyncClient) -> None:
    """It is asked again, with the same reference."""
    references, says = [], [raised("psycopg2.errors.SerializationFailure")] * 2

    def submit(_: str, arguments: list[Any]) -> Any:
        references.append(arguments[2])
        return says.pop() if says else JOB

    odoo.says = submit
    assert (await http.post("/v1/generate", json=PARAMETERS)).status_code == 202
    assert len(references) == 3
    assert len(set(references)) == 1


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"ok": True},
        {**JOB, "status": "unheard of"},
        {**JOB, "jobId": 7},
        {"ok": False},
        {"ok": False, "error": ["x"]},
        {"ok": False, "error": "UNKNOWN", "message": "x"},
        raised("builtins.KeyError"),
        {"error": "x"},
        {"error": {"data": 7}},
    ],
)
async def test_what_makes_no_sense(odoo: Odoo, http: httpx.AsyncClient, said: Any) -> None:
    """503, for each operation that could be asked for."""
    odoo.says = lambda *_: said
    job_id = uuid4()
    for method, path in (
        *(("POST", "/v1/generate"), ("POST", "/v1/generate/estimate"), ("GET", "/v1/generate")),
        *(("GET", f"/v1/generate/{job_id}/status"), ("DELETE", f"/v1/generate/{job_id}")),
        *(("GET", "/v1/webhooks"), ("GET", f"/v1/webhooks/{job_id}/deliveries")),
    ):
        given = {"json": PARAMETERS} if method == "POST" else {}
        found = await http.request(method, path, **given)  # type: ignore[arg-type]
        assert found.status_code == 503, (path, found.text)
        assert found.json()["type"] == "urn:duragen:problem:unavailable"


@pytest.mark.parametrize("page", [7, None, "x", [7], [None], [{}], [{**JOB, "price": "x"}]])
async def test_a_page_that_is_none(odoo: Odoo, http: httpx.AsyncClient, page: Any) -> None:
    """503."""
    odoo.says = lambda *_: {"ok": True, "jobs": page, "next": None}
    assert (await http.get("/v1/generate")).status_code == 503


async def test_large_pages_are_asked_for_in_parts(odoo: Odoo, http: httpx.AsyncClient) -> None:
    """So that a hundred jobs with long prompts fit; the caller sees one page."""
    limits = []

    def listed(_: str, arguments: list[Any]) -> Any:
        filters = arguments[1]
        limits.append((filters["limit"], "after" in filters))
        jobs = [{**JOB, "jobId": str(uuid4())} for _ in range(filters["limit"])]
        return {"ok": True, "jobs": jobs, "next": jobs[-1]["jobId"]}

    odoo.says = listed
    found = (await http.get("/v1/generate", params={"limit": 50})).json()
    assert limits == [(20, False), (20, True), (10, True)]
    assert len(found["jobs"]) == 50
    assert found["next"] == found["jobs"][-1]["jobId"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (None, None),
        ([7], None),
        ([{"name": "day", "limit": 2, "remaining": None, "reset": 9}], None),
        ([{"name": "day", "limit": 2, "remaining": 1, "reset": 9}], ("2", "1", "9")),
        (
            [
                {"name": "minute", "limit": 5, "remaining": 0, "reset": 60},
                {"name": "day", "limit": 9, "remaining": 0, "reset": 7_000},
            ],
            ("9", "0", "7000"),
        ),
    ],
)
async def test_the_nearest_limit(
    odoo: Odoo, http: httpx.AsyncClient, limits: Any, expected: tuple[str, ...] | None
) -> None:
    """Of two that are used up the one that lasts longer; a charged job is answered anyhow."""
    odoo.says = lambda *_: {**JOB, "limits": limits}
    found = await http.post("/v1/generate", json=PARAMETERS)
    assert found.status_code == 202
    names = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
    headers = tuple(found.headers[name] for name in names if name in found.headers)
    assert headers == (expected or ())


@pytest.mark.parametrize("user_id", [False, None, "7", True])
async def test_a_login_that_is_wrong(odoo: Odoo, http: httpx.AsyncClient, user_id: Any) -> None:
    """503: the operators read why in the log, the caller does not."""
    odoo.user_id = user_id
    found = await http.post("/v1/generate", json=PARAMETERS)
    assert (found.status_code, odoo.asked) == (503, ["authenticate"])
    assert "login" not in json.dumps(found.json())


@pytest.mark.parametrize("reply", [html(), html(502), answer(200, "[" * 100_000), reset])
async def test_no_odoo(odoo: Odoo, http: httpx.AsyncClient, reply: Reply) -> None:
    """Asked twice; then 503, and that a repeat with the same key is charged once."""
    odoo.peer.says(reply)
    key = {"Idempotency-Key": "mine"}
    found = await http.post("/v1/generate", json=PARAMETERS, headers=key)
    assert (found.status_code, len(odoo.peer.received)) == (503, 2)
    assert "same Idempotency-Key" in found.json()["detail"]
    assert (await http.get("/v1/generate")).json()["detail"].endswith("send it again")
