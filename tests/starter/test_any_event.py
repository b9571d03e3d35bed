"""Whatever a caller sends, the gateway's reader of events ends with an event or a problem."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from fastapi import Request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.events import GenerationRequested
from starter.gateway.body import read_event
from starter.gateway.problems import ProblemError
from starter.request_body import BodyRoom
from tests.bounded import within_bounds
from tests.starter.any_messages import CHANGED, VALUES

MOST_BYTES = 262_144


def sent(body: bytes, content_type: str) -> Request:
    """A request as the server hands it over."""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", content_type.encode("latin-1"))]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    (CHANGED | VALUES).map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60),
    st.just("application/json")
    | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20),
)
@example(b'["\\ud800"]', "application/json")
@example(b'{"a":' + b"[" * 100_000, "application/json")
@example(b"[" + b"{}," * 60_000 + b"{}]", "application/json")
@within_bounds
def test_any_body(body: bytes, content_type: str) -> None:
    """An event, or a problem with a status of the caller's."""
    found: object
    try:
        found = asyncio.run(read_event(sent(body, content_type), MOST_BYTES, BodyRoom(), "odoo"))
    except ProblemError as problem:
        found = problem.status
    assert isinstance(found, GenerationRequested) or found in {400, 413, 415, 422}
