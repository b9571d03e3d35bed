"""What an entry point of any protocol has from `EntryPoint`: no HTTP here."""

import subprocess
import sys
from uuid import UUID

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from temporalio.client import Client

from contracts.callbacks import CALLBACK_PATHS
from contracts.events import GenerationRequested
from starter.client import AsyncDuragenClient, ConflictError, Started, UnavailableError
from starter.start import CallbackNotAllowedError, EntryPoint
from tests.ports import free_port
from tests.starter.entry_points import (
    CALLBACK_URL,
    ODOO,
    make_event,
)

CALLBACKS = {ODOO: CALLBACK_PATHS}
FOREIGN_TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def entry_point(client: AsyncDuragenClient) -> EntryPoint:
    """On the module's Temporal server, for one Odoo."""
    return EntryPoint(client, CALLBACKS)


async def take(entry_point: EntryPoint, **changes: object) -> Started:
    """One message of a broker, that another trace sent."""
    return await entry_point.start(
        GenerationRequested.model_validate(make_event(**changes)),
        owner="acme",
        caller="a broker's user",
        span="jobs.requested process",
        headers={"traceparent": f"00-{FOREIGN_TRACE}-b7ad6b7169203331-01"},
        kind=SpanKind.CONSUMER,
    )


async def test_the_same_event_starts_once(entry_point: EntryPoint, temporal: Client) -> None:
    """The second time finds the first: one workflow, one run."""
    event = make_event()
    first = await take(entry_point, **event)
    second = await take(entry_point, **event)
    assert (first.created, second.created) == (True, False)
    assert first.run_id == second.run_id
    found = await temporal.get_workflow_handle(first.workflow_id).describe()
    assert found.run_id == first.run_id


async def test_another_payload_of_the_same_request_conflicts(entry_point: EntryPoint) -> None:
    """The requestId is taken."""
    event = make_event()
    await take(entry_point, **event)
    with pytest.raises(ConflictError):
        await take(entry_point, **event | {"prompt": "a windmill"})


@pytest.mark.parametrize(
    ("callback_url", "said"),
    [
        ("http://elsewhere.example.com/duragen/v1/callback", r"at http://elsewhere\.example\.com,"),
        (f"{ODOO}/web/binary/upload", r"the path /web/binary/upload,"),
        (f"{CALLBACK_URL}/../../../web", "must be"),
    ],
)
async def test_a_foreign_callback_starts_nothing(
    entry_point: EntryPoint, callback_url: str, said: str
) -> None:
    """Another origin, and another path at an allowed one; the requestId is still free."""
    event = make_event(callbackUrl=callback_url)
    with pytest.raises(CallbackNotAllowedError, match=said):
        await take(entry_point, **event)
    event = event | {"callbackUrl": CALLBACK_URL}
    assert (await take(entry_point, **event)).created


async def test_an_outage_is_told() -> None:
    """The caller keeps the message: `UnavailableError`."""
    nobody = AsyncDuragenClient(f"127.0.0.1:{free_port()}", retry_seconds=())
    with pytest.raises(UnavailableError):
        await take(EntryPoint(nobody, CALLBACKS))


async def test_the_root_span_is_of_the_callers_kind(
    entry_point: EntryPoint, spans: InMemorySpanExporter
) -> None:
    """Its trace id is the correlationId; the caller's own trace is linked."""
    event = make_event()
    await take(entry_point, **event)
    [root] = [s for s in spans.get_finished_spans() if s.name == "jobs.requested process"]
    assert root.kind is SpanKind.CONSUMER
    assert root.context.trace_id == UUID(event["correlationId"]).int
    assert [link.context.trace_id for link in root.links] == [int(FOREIGN_TRACE, 16)]


def test_it_needs_no_web_framework() -> None:
    """A broker's consumer imports neither FastAPI nor uvicorn."""
    code = "import sys, starter.start; print({'fastapi', 'starlette', 'uvicorn'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
