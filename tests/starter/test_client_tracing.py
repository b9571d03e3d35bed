"""The correlationId is the trace id, from the first span on."""

from uuid import UUID

from opentelemetry import trace
from opentelemetry.baggage import get_all, set_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client
from temporalio.converter import PayloadConverter

from starter.client import AsyncDuragenClient
from tests.starter.entry_points import make_event


async def carrier_of(temporal: Client, workflow_id: str) -> dict[str, str]:
    """What the worker will find in the start's header."""
    history = await temporal.get_workflow_handle(workflow_id).fetch_history()
    fields = history.events[0].workflow_execution_started_event_attributes.header.fields
    carrier: dict[str, str] = PayloadConverter.default.from_payloads([fields["_tracer-data"]])[0]
    return carrier


async def test_the_span_of_the_start_is_the_workers_parent(
    client: AsyncDuragenClient, temporal: Client, spans: InMemorySpanExporter
) -> None:
    """The header names the span `generation.start`, whose trace id is the correlationId."""
    event = make_event()
    started = await client.start(event)
    [span] = [s for s in spans.get_finished_spans() if s.name == "generation.start"]
    carrier = await carrier_of(temporal, started.workflow_id)
    assert span.context.trace_id == UUID(event["correlationId"]).int
    assert carrier["traceparent"].split("-")[1:3] == [
        trace.format_trace_id(span.context.trace_id),
        trace.format_span_id(span.context.span_id),
    ]
    assert span.kind is trace.SpanKind.PRODUCER


async def test_baggage_carries_the_ids(
    client: AsyncDuragenClient, temporal: Client, spans: InMemorySpanExporter
) -> None:
    """CorrelationId and requestId travel as baggage."""
    del spans
    event = make_event()
    started = await client.start(event)
    carrier = await carrier_of(temporal, started.workflow_id)
    assert get_all(W3CBaggagePropagator().extract(carrier)) == {
        "correlationId": event["correlationId"],
        "requestId": event["requestId"],
    }


async def test_what_the_caller_carries_stays_with_it(
    client: AsyncDuragenClient, temporal: Client, spans: InMemorySpanExporter
) -> None:
    """The caller's own baggage is for its own peers: it does not leave the house with the event."""
    del spans
    token = attach(set_baggage("customer", "secret"))
    try:
        started = await client.start(make_event())
    finally:
        detach(token)
    carrier = await carrier_of(temporal, started.workflow_id)
    assert set(get_all(W3CBaggagePropagator().extract(carrier))) == {"correlationId", "requestId"}
    assert "secret" not in str(carrier)


async def test_another_trace_is_linked(
    client: AsyncDuragenClient, spans: InMemorySpanExporter
) -> None:
    """A caller's own trace is not continued but linked to."""
    with trace.get_tracer(__name__).start_as_current_span("odoo") as caller:
        await client.start(make_event())
    [span] = [s for s in spans.get_finished_spans() if s.name == "generation.start"]
    assert [link.context for link in span.links] == [caller.get_span_context()]


async def test_a_root_of_the_same_trace_is_the_parent(
    client: AsyncDuragenClient, spans: InMemorySpanExporter
) -> None:
    """Inside a span of the correlationId's trace, the start is its child."""
    event = make_event()
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    root = trace.SpanContext(UUID(event["correlationId"]).int, 7, True, sampled)
    with trace.use_span(trace.NonRecordingSpan(root)):
        await client.start(event)
    [span] = [s for s in spans.get_finished_spans() if s.name == "generation.start"]
    assert span.parent is not None
    assert (span.parent.span_id, list(span.links)) == (7, [])
