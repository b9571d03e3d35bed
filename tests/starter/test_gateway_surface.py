"""What the gateway shows to those who only knock: its paths, and what they give away."""

from typing import Any

import httpx
import pytest

from starter.gateway.app import create_app
from tests.starter.entry_points import KEY, gateway_settings, make_event

REQUEST_ID = "00000000-0000-4000-8000-000000000000"
OPEN = {"/health", "/health/ready", "/docs", "/openapi.json"}
"""What needs no key."""

OPENAPI: dict[str, Any] = create_app(gateway_settings()).openapi()["paths"]
OPERATIONS = {
    ("POST", "/v1/generations"),
    ("POST", "/webhook/{name}"),
    ("POST", "/v1/webhook-deliveries"),
    ("POST", "/v1/connection-test"),
    ("GET", "/v1/generations/{request_id}"),
    ("GET", "/v1/generations/{request_id}/image"),
    ("DELETE", "/v1/generations/{request_id}"),
    ("POST", "/v1/generations/{request_id}/redeliver"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
}
"""All of them: what operators do (abandon, rerun, erase, reset) is at Temporal, not here."""


def filled(path: str) -> str:
    """A path with something in its place holders."""
    return path.replace("{request_id}", REQUEST_ID).replace("{name}", "x")


def test_the_document_names_every_operation() -> None:
    """OWASP API9: what is there is written down, and what is written down is what is meant."""
    found = {(method.upper(), path) for path, each in OPENAPI.items() for method in each}
    assert found == OPERATIONS


@pytest.mark.parametrize(("method", "path"), sorted((m, p) for m, p in OPERATIONS if p not in OPEN))
@pytest.mark.parametrize("key", [None, "", "Bearer", f"Basic {KEY}", f"Bearer {KEY}x"])
async def test_every_operation_needs_a_key(
    gateway: str, method: str, path: str, key: str | None
) -> None:
    """OWASP API2: without the whole key nothing is answered but 401, whatever the path."""
    headers = {} if key is None else {"Authorization": key}
    async with httpx.AsyncClient(base_url=gateway) as stranger:
        answer = await stranger.request(method, filled(path), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "send Authorization: Bearer KEY"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *sorted((method, filled(path)) for method, path in OPERATIONS),
        *(("GET", path) for path in ("/nothing", "/openapi.json", "/.env", "/metrics")),
        *((method, "/v1/generations") for method in ("PUT", "PATCH", "TRACE", "OPTIONS")),
    ],
)
async def test_no_answer_says_too_much(http: httpx.AsyncClient, method: str, path: str) -> None:
    """OWASP API8: no server's name, no permission for other sites' pages, nothing to be kept."""
    answer = await http.request(method, path, headers={"Origin": "https://elsewhere.example.com"})
    assert answer.status_code < 500
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    given = {name for name in answer.headers if name.startswith(("access-control-", "x-powered"))}
    assert given == set()
    assert answer.headers.get("server", "") in {"", "uvicorn"}, "uvicorn: in this test alone"


async def test_a_caller_sets_no_field_that_is_ours(http: httpx.AsyncClient) -> None:
    """OWASP API3: what is not in the event's model is not taken over."""
    event = make_event()
    extra = {"owner": "else", "workflowId": "x", "status": "completed", "plan": {"routes": []}}
    answer = (await http.post("/v1/generations", json={**event, **extra})).json()
    assert answer["workflowId"] == f"generation-{event['requestId']}"
    status = (await http.get(f"/v1/generations/{event['requestId']}")).json()
    assert status["state"] == "accepted"
