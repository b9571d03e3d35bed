"""Sampling: one decision a generation, by its correlationId, whoever starts it."""

import hashlib
import json
import os
import random
import subprocess
import sys
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio, Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts.names import TRACE_STATE_KEY, TRACE_UNDECIDED
from otel.sampling import CorrelationSampler

_DICE = random.Random(7)
IDS = [UUID(int=_DICE.getrandbits(128), version=4) for _ in range(200)]


def drawn(ratio: float) -> set[UUID]:
    """What the rule takes, stated a second time: a digest below the ratio."""
    return {
        each
        for each in IDS
        if int.from_bytes(hashlib.sha256(each.bytes).digest()[8:16]) < ratio * 2**64
    }


def recorded(sampler: Sampler, flags: str, state: str | None) -> set[UUID]:
    """Which of the traces a process with this sampler records, whose start came so."""
    found = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(found))
    tracer = provider.get_tracer("test")
    for each in IDS:
        carrier = {"traceparent": f"00-{each.hex}-00f067aa0ba902b7-{flags}"}
        carrier |= {"tracestate": state} if state else {}
        parent = TraceContextTextMapPropagator().extract(carrier)
        with tracer.start_as_current_span("outer", parent), tracer.start_as_current_span("inner"):
            pass
    spans = found.get_finished_spans()
    names = [(span.context.trace_id, span.name) for span in spans]
    taken = {UUID(int=trace_id) for trace_id, _ in names}
    assert len(names) == 2 * len(taken)  # each of them whole
    return taken


@pytest.mark.parametrize("ratio", [0.01, 0.25, 0.6])
def test_an_undecided_start_is_decided_by_the_ratio(ratio: float) -> None:
    """A start by a process without tracing: the share that was asked for, and no other."""
    sampler = CorrelationSampler(ParentBasedTraceIdRatio(ratio))
    state = f"{TRACE_STATE_KEY}={TRACE_UNDECIDED}"
    taken = recorded(sampler, "01", state)
    assert taken == drawn(ratio)
    assert 0.5 * ratio * len(IDS) <= len(taken) <= 1.5 * ratio * len(IDS)


@pytest.mark.parametrize(("flags", "taken"), [("01", set(IDS)), ("00", set())])
def test_a_decided_start_stays_so(flags: str, taken: set[UUID]) -> None:
    """Who starts it and traces it has decided for all."""
    sampler = CorrelationSampler(ParentBasedTraceIdRatio(0.25))
    assert recorded(sampler, flags, None) == taken


PROGRAM = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from starter.client import traced

if sys.argv[1] == "traced":
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
for each in json.load(sys.stdin):
    event = {"correlationId": each, "requestId": each}
    with traced(event) as carrier:
        print(json.dumps([carrier["traceparent"][-2:], carrier.get("tracestate")]))
"""


def starts(kind: str) -> list[tuple[str, str | None]]:
    """The flags and the state that the client sends along, for each id."""
    env = {**os.environ, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        env=env | {"OTEL_TRACES_SAMPLER_ARG": "0.25"},
        input=json.dumps([str(each) for each in IDS]),
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_the_client_asks_the_sampler_of_its_process() -> None:
    """An Odoo that traces one in four starts sends that decision along."""
    found = starts("traced")
    assert {state for _, state in found} == {None}
    taken = {each for each, (flags, _) in zip(IDS, found, strict=True) if flags == "01"}
    assert taken == drawn(0.25)


def test_a_client_without_tracing_decides_nothing() -> None:
    """It says so, and the worker decides."""
    assert set(starts("untraced")) == {("01", f"{TRACE_STATE_KEY}={TRACE_UNDECIDED}")}
