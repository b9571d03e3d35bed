"""What other programs send in good faith: N8N's bodies, proxies' slashes, monitors' HEAD."""

import asyncio
import json
from codecs import BOM_UTF8
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.starter.entry_points import KEY, make_event

JSON = {"Content-Type": "application/json"}
NOBODYS = "00000000-0000-4000-8000-000000000000"
GETS = ["/health", "/health/ready", "/openapi.json", "/docs"]


async def test_a_byte_order_mark_is_ignored(http: httpx.AsyncClient) -> None:
    """RFC 8259, 8.1 allows it: the mark is no part of the event."""
    event = make_event()
    marked = BOM_UTF8 + json.dumps(event).encode()
    first = await http.post("/v1/generations", content=marked, headers=JSON)
    assert first.status_code == 202
    second = (await http.post("/v1/generations", json=event)).json()
    assert (second["runId"], second["created"]) == (first.json()["runId"], False)


async def test_blank_optional_fields_are_absent(http: httpx.AsyncClient) -> None:
    """A node sends "" for what was left blank: the same request as without these fields."""
    event = make_event()
    names = ("negativePrompt", "seed", "inferenceSteps", "cfgScale", "campaignId", "payloadVersion")
    first = await http.post("/v1/generations", json={**event, **dict.fromkeys(names, "")})
    assert first.status_code == 202
    second = (await http.post("/v1/generations", json=event)).json()
    assert (second["runId"], second["created"]) == (first.json()["runId"], False)


WRAPPED: dict[str, Any] = {
    "webhook item": {"headers": {}, "params": {}, "query": {}, "body": make_event()},
    "item": {"json": make_event()},
    "cloud event": {"specversion": "1.0", "type": "x", "data": make_event()},
    "payload": {"payload": make_event()},
    "event": {"event": make_event()},
    "text": {"body": json.dumps(make_event())},
    "incomplete": {"body": {"prompt": "x"}},
}
INSIDE = {"item": "json", "cloud event": "data", "payload": "payload", "event": "event"}


@pytest.mark.parametrize("name", WRAPPED)
async def test_an_event_inside_a_field_is_pointed_at(http: httpx.AsyncClient, name: str) -> None:
    """Refused, with the field that it seems to be in before all that is missing outside."""
    answer = await http.post("/v1/generations", json=WRAPPED[name])
    assert answer.status_code == 422
    problem = answer.json()
    hint = f"is the event inside `{INSIDE.get(name, 'body')}`? Send the event alone"
    assert problem["errors"][0] == {"field": "event", "rule": "wrapped", "message": hint}
    assert problem["detail"].startswith(f"event: {hint}; requestId: ")


async def test_an_incomplete_event_is_not_taken_for_a_wrapper(http: httpx.AsyncClient) -> None:
    """A field of the event outside means that this is the event, whatever else it carries."""
    answer = await http.post("/v1/generations", json={"prompt": "x", "body": make_event()})
    assert answer.status_code == 422
    assert "wrapped" not in {fault["rule"] for fault in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([make_event()], "must be a JSON object: send the event itself, not a list"),
        ([], "must be a JSON object: send the event itself, not a list"),
        (json.dumps(make_event()), "must be a JSON object: send the event itself, not a text"),
        (7, "must be a JSON object"),
    ],
    ids=["list", "empty list", "text", "number"],
)
async def test_what_is_no_object_is_pointed_at(
    http: httpx.AsyncClient, body: object, message: str
) -> None:
    """A list of one event and an event encoded twice are refused, with what to send instead."""
    answer = await http.post("/v1/generations", json=body)
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert fault == {"field": "event", "rule": "type", "message": message}


@pytest.mark.parametrize("path", ["/v1/generations/", "/webhook/generate-image/"])
async def test_a_slash_at_the_end_starts_the_same(http: httpx.AsyncClient, path: str) -> None:
    """No redirect: it would lose the body, and behind a TLS proxy point to plain http."""
    event = make_event()
    first = await http.post(path, json=event)
    assert first.status_code == 202
    second = (await http.post(path.rstrip("/"), json=event)).json()
    assert (second["runId"], second["created"]) == (first.json()["runId"], False)


async def test_a_slash_at_the_end_finds_the_same(http: httpx.AsyncClient) -> None:
    """Every other route, too: status, cancellation, redelivery, health, documents."""
    event = make_event()
    path = f"/v1/generations/{event['requestId']}"
    await http.post("/v1/generations", json=event)
    assert (await http.get(path + "/")).json() == (await http.get(path)).json()
    assert (await http.delete(path + "/")).status_code == 202
    nobodys = await http.post(f"/v1/generations/{NOBODYS}/redeliver/")
    assert (nobodys.status_code, nobodys.json()["type"]) == (404, "urn:duragen:problem:not_found")
    for each in GETS:
        assert (await http.get(each + "/")).text == (await http.get(each)).text


@pytest.mark.parametrize(
    "path", ["/", "//", "/v1/", "/nowhere/", "/webhook", "/webhook/", "/webhook//", "/webhook/%2F"]
)
async def test_a_path_that_is_none_is_not_redirected(http: httpx.AsyncClient, path: str) -> None:
    """404 at once, whatever it ends in."""
    answer = await http.post(path, json=make_event())
    assert (answer.status_code, answer.json()["type"]) == (
        404,
        "urn:duragen:problem:no_such_path",
    )


@pytest.mark.parametrize("path", ["/v1/generations/", "/v1/generations/x/"])
async def test_a_slash_at_the_end_opens_nothing(gateway: str, path: str) -> None:
    """The key is asked for all the same."""
    async with httpx.AsyncClient(base_url=gateway) as nobody:
        answer = await nobody.request("POST" if path.count("/") == 3 else "GET", path)
    assert answer.status_code == 401


async def test_a_webhook_path_may_have_several_parts(http: httpx.AsyncClient) -> None:
    """N8N's paths have as many as the workflow's author likes."""
    event = make_event()
    answer = await http.post("/webhook/odoo/v2/generate-image", json=event)
    assert answer.status_code == 202
    again = (await http.post("/v1/generations", json=event)).json()
    assert (again["runId"], again["created"]) == (answer.json()["runId"], False)


async def bare(gateway: str, method: str, path: str) -> tuple[bytes, bytes]:
    """Head and rest of the answer, as they come over the wire until the gateway hangs up."""
    where = urlsplit(gateway)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    headers = f"Host: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    writer.write(f"{method} {path} HTTP/1.1\r\n{headers}".encode())
    head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, rest


def fields(head: bytes) -> list[bytes]:
    """Status line and headers, without the time of day."""
    return [line for line in head.split(b"\r\n") if not line.startswith(b"date:")]


@pytest.mark.parametrize(
    "path", [*GETS, "/health/", "/nowhere", f"/v1/generations/{NOBODYS}", "/v1/generations/7"]
)
async def test_head_is_get_without_the_body(gateway: str, path: str) -> None:
    """Monitors ask with HEAD: the same status and headers, and nothing after them."""
    (head, rest), (wanted, body) = [await bare(gateway, m, path) for m in ("HEAD", "GET")]
    assert fields(head) == fields(wanted)
    assert (rest, bool(body)) == (b"", True)


async def test_head_of_a_generation(http: httpx.AsyncClient) -> None:
    """200 for one that exists; a path that only takes POST takes no HEAD."""
    event = make_event()
    await http.post("/v1/generations", json=event)
    assert (await http.head(f"/v1/generations/{event['requestId']}")).status_code == 200
    assert (await http.head("/v1/generations")).status_code == 405


async def test_the_document_has_each_operation_once(http: httpx.AsyncClient) -> None:
    """No slash and no HEAD in it, and each part of a path is described."""
    document = (await http.get("/openapi.json")).json()
    operations = {
        (m, path): found for path, all_ in document["paths"].items() for m, found in all_.items()
    }
    one = "/v1/generations/{request_id}"
    assert set(operations) == {
        ("post", "/v1/generations"),
        ("post", "/webhook/{name}"),
        ("post", "/v1/webhook-deliveries"),
        ("post", "/v1/connection-test"),
        ("get", one),
        ("get", f"{one}/image"),
        ("delete", one),
        ("post", f"{one}/redeliver"),
        ("get", "/health"),
        ("get", "/health/ready"),
    }
    assert len({found["operationId"] for found in operations.values()}) == len(operations)
    for (_, path), found in operations.items():
        described = {p["name"] for p in found.get("parameters", []) if p["in"] == "path"}
        assert described == {part[1:-1] for part in path.split("/") if part.startswith("{")}
