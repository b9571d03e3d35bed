"""The correlationId: a UUID, so it is the trace id of everything that belongs to a generation.

spec: event-driven-architecture, Tracing And Correlation.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple
from uuid import UUID

from opentelemetry import propagate, trace

from contracts.names import CORRELATION_HEADER


class Correlation(NamedTuple):
    """The ids of the generation that this task works for."""

    correlation_id: UUID
    request_id: UUID


_current: ContextVar[Correlation | None] = ContextVar("correlation", default=None)


def current() -> Correlation | None:
    """The ids bound to this task, None outside of any generation."""
    return _current.get()


@contextmanager
def bound(correlation: Correlation) -> Iterator[None]:
    """Bind the ids, so that logs and outgoing calls carry them."""
    token = _current.set(correlation)
    try:
        yield
    finally:
        _current.reset(token)


def outgoing_headers() -> dict[str, str]:
    """`X-Correlation-ID` and the W3C headers for a call to somebody else.

    With tracing on, the current span is the parent. With tracing off, a `traceparent` of the same
    trace id is made, so that the other side's traces and ours can still be joined.
    """
    headers: dict[str, str] = {}
    propagate.inject(headers)
    correlation = _current.get()
    if correlation is None:
        return headers
    headers[CORRELATION_HEADER] = str(correlation.correlation_id)
    if not trace.get_current_span().get_span_context().is_valid:
        span_id = secrets.token_hex(8)
        headers["traceparent"] = f"00-{correlation.correlation_id.hex}-{span_id}-01"
    return headers
