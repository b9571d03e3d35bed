"""The root span of a request: its trace id is the event's correlationId."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts.events import GenerationRequested
from otel.correlation import Correlation, bound

_propagator = TraceContextTextMapPropagator()
_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)


@contextmanager
def root_span(request: Request, event: GenerationRequested) -> Iterator[None]:
    """Open it, and bind the ids for the log.

    A caller whose `traceparent` is of the same trace is the parent; another trace is linked to.
    """
    wanted = event.correlation_id.int
    caller = trace.get_current_span(_propagator.extract(dict(request.headers))).get_span_context()
    parent, links = caller, []
    if caller.trace_id != wanted:
        parent = trace.SpanContext(
            wanted, secrets.randbits(63) + 1, is_remote=True, trace_flags=_SAMPLED
        )
        links = [trace.Link(caller)] if caller.is_valid else []
    tracer = trace.get_tracer("duragen.gateway")
    with (
        bound(Correlation(event.correlation_id, event.request_id)),
        tracer.start_as_current_span(
            f"{request.method} {request.scope['route'].path}",
            trace.set_span_in_context(trace.NonRecordingSpan(parent)),
            kind=trace.SpanKind.SERVER,
            links=links,
            attributes={"duragen.request_id": str(event.request_id)},
        ),
    ):
        yield
