"""The correlationId on its way out: a header, and the trace id of everything."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel.correlation import Correlation, bound, current, outgoing_headers

IDS = Correlation(
    UUID("4bf92f35-77b3-4da6-a3ce-929d0e0e4736"), UUID("0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01")
)


def test_outside_of_any_generation() -> None:
    """Without a generation there is nothing to say."""
    assert current() is None
    assert outgoing_headers() == {}


def test_without_tracing() -> None:
    """With tracing off, a traceparent of the same trace id is made, another span each time."""
    with bound(IDS):
        first, second = outgoing_headers(), outgoing_headers()
    for headers in (first, second):
        assert set(headers) == {"X-Correlation-ID", "traceparent"}
        assert headers["X-Correlation-ID"] == str(IDS.correlation_id)
        assert headers["traceparent"].startswith(f"00-{IDS.correlation_id.hex}-")
    assert first["traceparent"] != second["traceparent"]


@pytest.mark.parametrize(("flags", "written"), [(TraceFlags.SAMPLED, "01"), (0, "00")])
def test_with_tracing(flags: int, written: str) -> None:
    """With tracing on, the current span is the parent, whether it is sampled or not."""
    span = SpanContext(
        IDS.correlation_id.int, 0xABC, is_remote=False, trace_flags=TraceFlags(flags)
    )
    with bound(IDS), trace.use_span(NonRecordingSpan(span)):
        headers = outgoing_headers()
    expected = f"00-{IDS.correlation_id.hex}-{0xABC:016x}-{written}"
    assert headers["traceparent"] == expected
    assert headers["X-Correlation-ID"] == str(IDS.correlation_id)


def test_ends_with_its_block() -> None:
    """What is bound ends with its block, also when the block fails, and inner ones end first."""
    other = IDS._replace(request_id=IDS.correlation_id)

    def fail() -> None:
        with bound(other):
            assert current() == other
            raise RuntimeError("the block fails")

    with bound(IDS):
        with pytest.raises(RuntimeError, match="the block fails"):
            fail()
        assert current() == IDS
    assert current() is None


async def test_tasks_do_not_mix() -> None:
    """Two generations in one process never see each other's ids, in tasks nor in threads."""
    met = asyncio.Barrier(2)
    loop = asyncio.get_running_loop()

    async def work(ids: Correlation) -> tuple[Correlation | None, Correlation | None]:
        with bound(ids):
            await met.wait()  # both are bound now
            context = copy_context()
            return current(), await loop.run_in_executor(threads, context.run, current)

    both = (IDS, Correlation(IDS.request_id, IDS.correlation_id))
    with ThreadPoolExecutor(1) as threads:
        seen = await asyncio.gather(*(work(ids) for ids in both))
    assert seen == [(ids, ids) for ids in both]
