"""The gateway over real HTTP: what it takes and what it answers."""

import time
from uuid import UUID, uuid4

import httpx
import pytest
from temporalio.client import Client
from temporalio.converter import PayloadConverter

from tests.ports import free_port
from tests.starter.entry_points import (
    CALLBACK_URL,
    KEY,
    ODOO,
    make_event,
    serving,
    temporal_server,
)

PATHS = ["/v1/generations", "/webhook/generate-image"]
NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("path", PATHS)
async def test_a_request_is_accepted(http: httpx.AsyncClient, path: str) -> None:
    """202 with the ids and a link to the status, at the API's path and at a webhook's."""
    event = make_event()
    answer = await http.post(path, json=event)
    assert answer.status_code == 202
    body = answer.json()
    assert body["workflowId"] == f"generation-{event['requestId']}"
    assert body["statusUrl"] == answer.headers["location"]
    assert answer.headers["x-correlation-id"] == event["correlationId"]
    assert (await http.get(body["statusUrl"])).json()["state"] == "accepted"


async def test_a_repeated_request_is_accepted_again(http: httpx.AsyncClient) -> None:
    """Sending the same request twice gives the same run."""
    event = make_event()
    first = (await http.post("/v1/generations", json=event)).json()
    second = (await http.post("/webhook/x", json=event)).json()
    assert (first["runId"], first["created"]) == (second["runId"], not second["created"])


async def test_another_payload_is_a_conflict(http: httpx.AsyncClient) -> None:
    """409 for the same requestId with another prompt."""
    event = make_event()
    await http.post("/v1/generations", json=event)
    answer = await http.post("/v1/generations", json={**event, "prompt": "else"})
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:duragen:problem:conflict"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("key", [None, "wrong", "ü", KEY.upper()])
async def test_no_key_no_answer(gateway: str, method: str, key: str | None) -> None:
    """401 with WWW-Authenticate, before anything else is looked at."""
    headers = {"Authorization": f"Bearer {key}".encode()} if key is not None else {}
    path = "/v1/generations" + ("" if method == "POST" else f"/{uuid4()}")
    async with httpx.AsyncClient(base_url=gateway) as caller:
        answer = await caller.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "", "application/json; charset=latin-1", "multipart/form-data"]
)
async def test_only_json_is_read(http: httpx.AsyncClient, content_type: str) -> None:
    """415 for every other content type."""
    headers = {"Content-Type": content_type}
    answer = await http.post("/v1/generations", content=b"{}", headers=headers)
    assert answer.status_code == 415


async def test_a_compressed_body_is_not_read(http: httpx.AsyncClient) -> None:
    """415 for a Content-Encoding: a small body must not grow into a large one."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await http.post("/v1/generations", content=b"{}", headers=headers)
    assert answer.status_code == 415


async def test_a_large_body_is_refused(http: httpx.AsyncClient) -> None:
    """413 over 256 KB."""
    answer = await http.post("/v1/generations", json=make_event(prompt="x" * 262_144))
    assert answer.status_code == 413


async def test_a_large_chunked_body_is_refused(http: httpx.AsyncClient) -> None:
    """413 also when no length was announced, after 256 KB and not after all of it."""
    sent = 0

    async def endless() -> object:
        nonlocal sent
        for _ in range(1_000):
            sent += 65_536
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    try:
        answer = await http.post("/v1/generations", content=endless(), headers=headers)
    except httpx.WriteError:
        return  # the server hung up while the rest was still coming: as good an answer
    assert answer.status_code == 413


@pytest.mark.parametrize("way", ["/v1/generations", "/webhook/odoo/generate-image"])
@pytest.mark.parametrize(
    "callback_url",
    [
        "http://odoo.example.com.evil.example/duragen/v1/callback",
        f"{ODOO}/web/binary/upload",
        f"{CALLBACK_URL}/%2e%2e/%2e%2e/%2e%2e/web",
    ],
)
async def test_a_foreign_callback_is_refused(
    http: httpx.AsyncClient, way: str, callback_url: str
) -> None:
    """422 for a callbackUrl that is no Odoo of ours, and for another path at ours."""
    event = make_event(callbackUrl=callback_url)
    answer = await http.post(way, json=event)
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert (fault["field"], fault["rule"]) == ("callbackUrl", "origin_not_allowed")


async def test_every_bad_field_is_named(http: httpx.AsyncClient) -> None:
    """422 names each field and rule, and repeats nothing that was sent."""
    event = make_event(userId="not-a-uuid", seed=-1, inferenceSteps=True, prompt="secret-" * 5_000)
    del event["modelId"]
    answer = await http.post("/v1/generations", json=event)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    faults = answer.json()["errors"]
    fields = {fault["field"] for fault in faults}
    assert fields == {"userId", "modelId", "seed", "inferenceSteps", "prompt"}
    assert all(fault["rule"] and fault["message"] for fault in faults)
    assert "secret" not in answer.text


async def test_a_ratio_that_disagrees_is_named(http: httpx.AsyncClient) -> None:
    """The rule that spans two fields is reported at aspectRatio."""
    answer = await http.post("/v1/generations", json=make_event(aspectRatio="16:9"))
    assert [fault["field"] for fault in answer.json()["errors"]] == ["aspectRatio"]


async def test_delete_cancels(http: httpx.AsyncClient, temporal: Client) -> None:
    """202 while it runs, 200 when it has ended, 404 when there is none."""
    event = make_event()
    path = f"/v1/generations/{event['requestId']}"
    started = (await http.post("/v1/generations", json=event)).json()
    assert (await http.delete(path)).status_code == 202
    await temporal.get_workflow_handle(started["workflowId"]).terminate()
    assert (await http.delete(path)).status_code == 200
    assert (await http.delete(f"/v1/generations/{uuid4()}")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/generations", 405),
        ("GET", "/v1/generations/7", 422),
        ("GET", f"/v1/generations/{NOBODYS}", 404),
    ],
)
async def test_every_error_is_a_problem_document(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """Also what the framework answers by itself is application/problem+json."""
    answer = await http.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["status"]) == (status, status)


async def test_the_trace_begins_at_the_caller(http: httpx.AsyncClient, temporal: Client) -> None:
    """A caller's traceparent of the same trace id goes on to the worker's trace."""
    event = make_event()
    trace_id = UUID(event["correlationId"]).hex
    headers = {"traceparent": f"00-{trace_id}-00000000000000ab-01"}
    started = (await http.post("/v1/generations", json=event, headers=headers)).json()
    history = await temporal.get_workflow_handle(started["workflowId"]).fetch_history()
    fields = history.events[0].workflow_execution_started_event_attributes.header.fields
    [carrier] = PayloadConverter.default.from_payloads([fields["_tracer-data"]])
    assert carrier["traceparent"].split("-")[1] == trace_id


async def test_it_starts_without_temporal_and_recovers() -> None:
    """503 with Retry-After within 2.5 s while Temporal is away; 202 when it has come."""
    port = free_port()
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        serving(f"127.0.0.1:{port}") as url,
        httpx.AsyncClient(base_url=url, headers=headers) as caller,
    ):
        before = time.monotonic()
        answer = await caller.post("/v1/generations", json=make_event())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await caller.get("/health")).status_code == 200
        assert (await caller.get("/health/ready")).status_code == 503
        assert time.monotonic() - before < 2.5
        async with temporal_server(port):
            assert (await caller.post("/v1/generations", json=make_event())).status_code == 202
            while (await caller.get("/health/ready")).status_code == 503:
                pass  # an answer is kept for a second
        before = time.monotonic()
        answer = await caller.post("/v1/generations", json=make_event())
        assert answer.status_code == 503
        assert time.monotonic() - before < 2.5
