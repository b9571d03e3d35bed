"""One trace from the gateway to Odoo, spans decoded from the wire by a real OTLP receiver."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import httpx
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from contracts.events import GenerationRequested
from contracts.names import workflow_id
from deploy.local.commands.collector import Collector, ReceivedSpan
from deploy.local.stack.local_stack import LocalStack
from tests.lab import Lab

EXPECTED = {
    "POST /v1/generations",
    "generation.start",
    "RunWorkflow:Generation",
    "RunActivity:plan_generation",
    "RunActivity:submit_generation",
    "RunActivity:deliver_outcome",
    "S3.HeadObject",
    "S3.PutObject",
}


OF_WORKFLOW = ("RunWorkflow:", "StartActivity:")
"""Names of the spans that workflow code makes, which runs again at every replay."""


class Traced(NamedTuple):
    """A stack whose gateway and worker export to the collector."""

    lab: Lab
    collector: Collector


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """The receiver."""
    with Collector() as running:
        yield running


@pytest.fixture(scope="module", params=[500, 0], ids=["cached", "workflow cache off"])
async def traced(
    request: pytest.FixtureRequest,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Traced]:
    """All parts; with the cache off, each workflow task replays the workflow from its start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        stack = LocalStack(
            tmp_path_factory.mktemp("traced"),
            overrides={"worker": {"max_cached_workflows": request.param}},
        )
        await asyncio.to_thread(stack.start)
    try:
        client = await Client.connect(
            stack.temporal_address, data_converter=pydantic_data_converter
        )
        async with Lab.open(stack, client) as lab:
            yield Traced(lab, collector)
    finally:
        await asyncio.to_thread(stack.stop)


async def _trace_of(traced: Traced, request: GenerationRequested) -> list[ReceivedSpan]:
    stack = traced.lab.stack
    answer = await traced.lab.http.post(
        f"{stack.gateway_url}/v1/generations",
        content=request.model_dump_json(exclude_none=True),
        headers={
            "Authorization": f"Bearer {stack.secrets.api_key}",
            "Content-Type": "application/json",
        },
    )
    assert answer.status_code == 202, answer.text
    trace_id = request.correlation_id.hex
    return await asyncio.to_thread(traced.collector.wait_for, trace_id, EXPECTED, 30)


async def _tasks_handed_out_again(traced: Traced, request: GenerationRequested) -> int:
    handle = traced.lab.client.get_workflow_handle(workflow_id(request.request_id))
    lost = {
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    }
    return sum(event.event_type in lost for event in (await handle.fetch_history()).events)


async def test_everything_hangs_on_one_trace_whose_id_is_the_correlation_id(traced: Traced) -> None:
    """Gateway, workflow, activities and S3: one trace, a span id each, every parent known.

    A replay sends nothing. But a workflow task that the server hands out again sends its spans
    again, with the ids they had.
    """
    request = traced.lab.request()
    spans = await _trace_of(traced, request)
    assert {span.name for span in spans} >= EXPECTED
    assert {span.service for span in spans} == {"duragen-gateway", "duragen-worker"}
    ids = {span.span_id for span in spans}
    assert len(ids) == len({(span.span_id, span.name, span.parent_id) for span in spans})
    of_workflow = {s.name: s.span_id for s in spans if s.name.startswith(OF_WORKFLOW)}
    again = [s for s in spans if s.span_id != of_workflow.get(s.name, s.span_id)]
    assert again == []
    most = Counter(span.span_id for span in spans).most_common(1)[0][1]
    assert most <= 1 + await _tasks_handed_out_again(traced, request)
    strangers = [span for span in spans if span.parent_id not in ids]
    # The root alone: its parent is the id that stands for whoever sent the correlationId.
    assert [span.name for span in strangers] == ["POST /v1/generations"]


async def test_the_image_service_and_odoo_get_the_trace(traced: Traced) -> None:
    """Both get X-Correlation-ID and a traceparent whose parent is a span of ours."""
    request = traced.lab.flux_request()
    spans = await _trace_of(traced, request)
    ids = {span.span_id for span in spans}
    ledgers = await traced.lab.ledgers(request)
    for seen in [*ledgers.calls, *ledgers.deliveries]:
        if seen.get("operation") == "sample":
            continue  # fetched by its link, recorded by its link
        assert seen["correlation_id"] == str(request.correlation_id)
        _, trace_id, parent, _ = seen["traceparent"].split("-")
        assert trace_id == request.correlation_id.hex
        assert parent in ids


async def test_without_an_endpoint_the_trace_id_still_travels(lab: Lab, worker: None) -> None:
    """Nothing is exported, and the other side can still join its trace to the correlationId."""
    request = lab.request()
    await lab.outcome(request)
    ledgers = await lab.ledgers(request)
    for seen in [*ledgers.calls, *ledgers.deliveries]:
        assert seen["traceparent"].split("-")[1] == request.correlation_id.hex


async def test_a_wrong_body_does_not_end_the_receiver(collector: Collector) -> None:
    """The receiver answers what it cannot read with an error and goes on."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{collector.url}/v1/traces", content=b"\xff\xff")
        assert answer.status_code == 400
        assert (await http.post(f"{collector.url}/v1/traces", content=b"")).status_code == 200
