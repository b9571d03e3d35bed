"""The root span of a request: its trace id is the event's correlationId."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts.events import GenerationRequested
from contracts.names import TRACE_STATE_KEY, TRACE_UNDECIDED
from otel.correlation import Correlation, bound

_propagator = TraceContextTextMapPropagator()
_UNDECIDED = trace.TraceState([(TRACE_STATE_KEY, TRACE_UNDECIDED)])
_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)


@contextmanager
def root_span(
    name: str,
    headers: Mapping[str, str],
    event: GenerationRequested,
    kind: trace.SpanKind = trace.SpanKind.SERVER,
) -> Iterator[None]:
    """Open the span `name`, and bind the event's ids for the log.

    `headers` are the caller's, with names in lower case; of HTTP, a broker or whatever carried the
    event. A caller whose `traceparent` is of the same trace is the parent; another trace is linked.
    """
    wanted = event.correlation_id.int
    caller = trace.get_current_span(_propagator.extract(dict(headers))).get_span_context()
    parent, links = caller, []
    if caller.trace_id != wanted:
        parent = trace.SpanContext(
            wanted,
            secrets.randbits(63) + 1,
            is_remote=True,
            trace_flags=_SAMPLED,
            trace_state=_UNDECIDED,
        )
        links = [trace.Link(caller)] if caller.is_valid else []
    tracer = trace.get_tracer("duragen.starter")
    with (
        bound(Correlation(event.correlation_id, event.request_id)),
        tracer.start_as_current_span(
            name,
            trace.set_span_in_context(trace.NonRecordingSpan(parent)),
            kind=kind,
            links=links,
            attributes={"duragen.request_id": str(event.request_id)},
        ),
    ):
        yield
