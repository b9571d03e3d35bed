"""Two tenants of one gateway: neither sees, takes, cancels or delivers what is the other's."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from contracts.callbacks import CALLBACK_PATHS
from starter.client import AsyncDuragenClient
from starter.gateway.app import create_app
from tests.ports import free_port
from tests.starter.entry_points import (
    CALLBACK_URL,
    KEY,
    ODOO,
    gateway_key,
    gateway_settings,
    make_event,
    serving,
)

ACME, OTHER, OPERATOR = "key-of-acme", "key-of-other", KEY
ACMES, OTHERS = CALLBACK_URL, f"{ODOO}{CALLBACK_PATHS[2]}"
"""Where outcomes of each tenant may go."""

KEYS = (
    gateway_key("acme", ACME, callbacks=(ACMES,)),
    gateway_key("acme-too", "second-key-of-acme", owner="acme", callbacks=(ACMES,)),
    gateway_key("other", OTHER, callbacks=(OTHERS, "https://elsewhere.example.com")),
    gateway_key("operator", OPERATOR, owner=""),
)
CALLS = [
    (method.upper(), path)
    for path, operations in create_app(gateway_settings()).openapi()["paths"].items()
    if "{request_id}" in path
    for method in operations
]
"""Every call about a generation; a new one is tried by itself."""


@pytest.fixture(scope="module")
async def url(server: Any) -> AsyncIterator[str]:
    """A gateway with two tenants."""
    address = server.client.service_client.config.target_host
    async with serving(address, keys=KEYS) as found:
        yield found


def caller(url: str, key: str) -> httpx.AsyncClient:
    """Somebody with this key."""
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"})


async def call(url: str, key: str, method: str, path: str, request_id: str) -> httpx.Response:
    """One call about this generation."""
    async with caller(url, key) as http:
        return await http.request(method, path.replace("{request_id}", request_id))


async def started(url: str, key: str, event: dict[str, Any]) -> httpx.Response:
    """The answer to a start; the outcome goes to the caller's own Odoo."""
    async with caller(url, key) as http:
        return await http.post("/v1/generations", json={**event, "callbackUrl": odoo_of(key)})


def odoo_of(key: str) -> str:
    """A callback that the key may name."""
    return OTHERS if key == OTHER else ACMES


def without_id(answer: httpx.Response) -> tuple[int, str]:
    """What the answer says."""
    return answer.status_code, answer.text


def test_all_calls_are_known() -> None:
    """The list of calls is made from the application's own OpenAPI document."""
    assert {method for method, _ in CALLS} == {"GET", "POST", "DELETE"}


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("stranger", [OTHER, OPERATOR])
async def test_what_is_anothers_does_not_exist(
    url: str, temporal: Client, method: str, path: str, stranger: str
) -> None:
    """Every call with another owner's key is answered as for an id that nobody has."""
    event = make_event()
    accepted = (await started(url, ACME, event)).json()
    nobodys = without_id(await call(url, stranger, method, path, str(uuid4())))
    assert without_id(await call(url, stranger, method, path, event["requestId"])) == nobodys
    assert nobodys[0] == 404
    described = await temporal.get_workflow_handle(accepted["workflowId"]).describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    history = await temporal.get_workflow_handle(accepted["workflowId"]).fetch_history()
    assert len(history.events) == 2, "started, and one workflow task that nobody takes"


@pytest.mark.parametrize(("first", "second"), [(OTHER, ACME), (ACME, OTHER), (ACME, OPERATOR)])
async def test_nobody_can_take_anothers_request_id(url: str, first: str, second: str) -> None:
    """An owner's requestIds are its own: one that another owner has used is free."""
    event = make_event()
    taken = await started(url, first, {**event, "prompt": "a squatter's"})
    own = await started(url, second, event)
    assert (taken.status_code, own.status_code) == (202, 202)
    assert own.json()["created"] is True
    assert own.json()["workflowId"] != taken.json()["workflowId"]


async def test_keys_of_one_owner_see_the_same(url: str) -> None:
    """A second key, as in a rotation, finds what the first one has started."""
    event = make_event()
    first = (await started(url, ACME, event)).json()
    again = (await started(url, "second-key-of-acme", event)).json()
    assert (again["created"], again["runId"]) == (False, first["runId"])
    seen = await call(
        url, "second-key-of-acme", "GET", "/v1/generations/{request_id}", event["requestId"]
    )
    assert seen.json()["requestId"] == event["requestId"]


async def test_an_operators_key_sees_what_clients_start(
    url: str, client: AsyncDuragenClient
) -> None:
    """With the owner "" it is as if it had access to Temporal; tenants' keys see none of that."""
    event = make_event()
    await client.start(event)
    path = "/v1/generations/{request_id}"
    assert (await call(url, OPERATOR, "GET", path, event["requestId"])).status_code == 200
    assert (await call(url, ACME, "GET", path, event["requestId"])).status_code == 404


async def test_a_generation_is_listed_by_its_owner(url: str, temporal: Client) -> None:
    """The search attribute `Owner` is the key's owner, whatever the caller writes."""
    event = make_event()
    accepted = (await started(url, ACME, {**event, "owner": "other"})).json()
    described = await temporal.get_workflow_handle(accepted["workflowId"]).describe()
    owner = described.typed_search_attributes.get(SearchAttributeKey.for_keyword("Owner"))
    assert owner == "acme"
    assert accepted["workflowId"] == f"generation-{event['requestId']}.acme"


@pytest.mark.parametrize(
    ("callback_url", "status"),
    [
        (OTHERS, 202),
        (f"{OTHERS}/more", 202),
        (f"{OTHERS}s", 422),
        (ACMES, 422),
        (f"{OTHERS}/../../../..{CALLBACK_PATHS[0]}", 422),
        (f"{OTHERS}/%2e%2e/%2e%2e/%2e%2e/%2e%2e{CALLBACK_PATHS[0]}", 422),
        ("https://elsewhere.example.com/callback", 422),
    ],
    ids=["own", "below", "beside", "anothers", "dots", "escaped dots", "not of [[odoo]]"],
)
async def test_a_key_is_bound_to_its_callbacks(url: str, callback_url: str, status: int) -> None:
    """Outcomes go where the key may have them sent and `[[odoo]]` allows, and nowhere else.

    Who knows another owner's ids could otherwise have its Odoo take an outcome that is not its own.
    """
    event = make_event()
    assert (await started(url, ACME, event)).status_code == 202
    async with caller(url, OTHER) as http:
        sent = {**event, "callbackUrl": callback_url}
        answer = await http.post("/v1/generations", json=sent)
    assert answer.status_code == status
    if status == 422:
        assert [e["field"] for e in answer.json()["errors"]] == ["callbackUrl"]


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What was written of calls; never with a key."""
    lines = [vars(record) for record in caplog.records if "status" in vars(record)]
    assert ACME not in json.dumps([str(line) for line in lines])
    return lines


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/generations"), *CALLS])
async def test_every_operation_says_who_called(
    url: str, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    """Each leaves one line with the key's name, the request's id and the answer's status."""
    event = make_event()
    caplog.set_level("INFO", logger="starter")
    if method == "POST" and "{" not in path:
        answer = await started(url, ACME, event)
    else:
        answer = await call(url, ACME, method, path, event["requestId"])
    [line] = lines_of(caplog)
    assert line["message"] == f"{method} {path}"
    assert (line["caller"], line["status"]) == ("acme", answer.status_code)
    assert line["requestId"] == event["requestId"]


@pytest.mark.parametrize(
    ("sent", "status", "problem"),
    [
        ({"callbackUrl": OTHERS}, 422, "invalid_event"),
        ({"prompt": "another"}, 409, "conflict"),
        ({"seed": -1}, 422, "invalid_event"),
        ({"prompt": "x" * 262_144}, 413, "too_large"),
    ],
    ids=["callback", "conflict", "field", "size"],
)
async def test_a_refused_start_says_who_called(
    url: str, caplog: pytest.LogCaptureFixture, sent: dict[str, Any], status: int, problem: str
) -> None:
    """Also who is not let through is known, and why he was not."""
    event = make_event()
    await started(url, ACME, event)
    caplog.set_level("INFO", logger="starter")
    async with caller(url, ACME) as http:
        answer = await http.post("/webhook/x", json={**event, **sent})
    [line] = lines_of(caplog)
    assert (answer.status_code, line["status"]) == (status, status)
    assert line["message"] == "POST /webhook/{name}"
    assert (line["caller"], line["problem"]) == ("acme", problem)


async def test_refused_by_a_limit_or_without_temporal(caplog: pytest.LogCaptureFixture) -> None:
    """429 and 503 name the key as well; a stranger has no name."""
    key = gateway_key("acme", ACME, requests_per_second=0.001)
    caplog.set_level("INFO", logger="starter")
    async with serving(f"127.0.0.1:{free_port()}", keys=(key,)) as url:
        statuses = [(await started(url, ACME, make_event())).status_code for _ in range(2)]
        assert (await started(url, "a-strangers", make_event())).status_code == 401
    lines = [(line["caller"], line["status"], line["problem"]) for line in lines_of(caplog)]
    assert lines == [("acme", 503, "unavailable"), ("acme", 429, "rate_limited")]
    assert statuses == [503, 429]
