"""The worker process: its health, its queues, and how it leaves."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, RateLimitSource, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
)
from temporalio.client import Client, WorkflowFailureError, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import GenerationState
from contracts.names import (
    COLLECT_ACTIVITY,
    DELIVER_ACTIVITY,
    SUBMIT_ACTIVITY,
    provider_jobs_queue,
    provider_queue,
)
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import PortRegistry, Ports
from tests.lab import Lab
from tests.workers.worker_process import Launch, WorkerProcess, until

FAILED_ATTEMPT = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
}


@pytest.fixture
def empty_place(tmp_path: Path) -> Ports:
    """A port for a Temporal server that is not there yet."""
    return Ports(temporal=PortRegistry(tmp_path / "place.json").pick("temporal"))


@asynccontextmanager
async def temporal_at(ports: Ports, home: Path) -> AsyncIterator[LocalStack]:
    """A Temporal server of one's own."""
    server = LocalStack(home, ("temporal",), ports=ports)
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def _making_takes(lab: Lab, seconds: float) -> None:
    url = f"{lab.stack.images_url}/_sandbox/faults"
    (await lab.http.put(url, json={"latency_seconds": seconds})).raise_for_status()


def _make_jobs_ready(lab: Lab) -> None:
    """Of FLUX; a test that waited for the clock would be right on a quick machine alone."""
    with closing(sqlite3.connect(lab.stack.home / "images" / "images.sqlite")) as log, log:
        log.execute("UPDATE jobs SET ready_at = accepted_at")


async def _called(lab: Lab, request: GenerationRequested, operation: str) -> None:
    async with asyncio.timeout(100):
        while operation not in {call["operation"] for call in (await lab.ledgers(request)).calls}:
            await asyncio.sleep(0.02)


def _attempts(history: WorkflowHistory) -> dict[str, list[tuple[int, str]]]:
    """Of each activity: (attempt, worker) of every time it came to an end."""
    scheduled, found = {}, dict[str, list[tuple[int, str]]]()
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            scheduled[event.event_id] = name
        elif event.HasField("activity_task_started_event_attributes"):
            started = event.activity_task_started_event_attributes
            found.setdefault(scheduled[started.scheduled_event_id], []).append(
                (started.attempt, started.identity)
            )
    return found


async def test_it_lives_before_temporal_does_and_works_as_soon_as_it_is_there(
    launch: Launch, lab: Lab, empty_place: Ports, tmp_path: Path
) -> None:
    """`/health` answers at once, `/health/ready` when the queues are served."""
    worker = await launch(TEMPORAL_ADDRESS=f"127.0.0.1:{empty_place.temporal}")
    assert (await worker.answers("/health"))["status"] == "alive"
    assert (await worker.answers("/health/ready", 503))["status"] == "not ready"
    async with temporal_at(empty_place, tmp_path / "late") as late:
        ready = await worker.answers("/health/ready")
        assert ready["queues"] == ["generation", "provider.openai", "provider.flux"]
        client = await Client.connect(late.temporal_address, data_converter=pydantic_data_converter)
        elsewhere = Lab(lab.stack, client, lab.http)
        outcome = await elsewhere.outcome(elsewhere.request())
        assert outcome.state is GenerationState.COMPLETED
        assert await worker.leaves() == 0


async def test_every_line_of_the_log_is_json_also_when_temporal_goes_away(
    launch: Launch, empty_place: Ports, tmp_path: Path
) -> None:
    """What the SDK's native part has to say comes the same way."""
    async with temporal_at(empty_place, tmp_path / "early") as server:
        worker = await launch(TEMPORAL_ADDRESS=server.temporal_address)
        await worker.answers("/health/ready")
        temporal = server.supervisor("temporal")
        temporal.ask_to_stop()  # or it would be started again
        temporal.kill()
        await worker.says(lambda line: line["logger"] == "temporalio.core")


async def test_tracing_is_set_up_once_however_often_temporal_is_asked_for(
    launch: Launch, empty_place: Ports
) -> None:
    """A second provider would be refused, and its exporter would live on for nothing."""
    worker = await launch(
        TEMPORAL_ADDRESS=f"127.0.0.1:{empty_place.temporal}", OTEL_TRACES_EXPORTER="console"
    )
    await until(lambda: sum("trying again" in line["message"] for line in worker.lines()) >= 2)
    assert [line for line in worker.lines() if line["logger"].startswith("opentelemetry")] == []


async def test_it_leaves_while_it_still_looks_for_temporal(launch: Launch) -> None:
    """Also when something takes the connection and never says a word."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        worker = await launch(TEMPORAL_ADDRESS=f"{host}:{port}")
        await until(lambda: taken)
        assert await worker.leaves() == 0
        for writer in taken:
            writer.close()


async def test_a_missing_namespace_is_waited_for_and_named(launch: Launch) -> None:
    """A server that is just being set up gets its namespaces a moment later."""
    worker = await launch(TEMPORAL_NAMESPACE="nowhere")
    line = await worker.says(lambda line: "nowhere" in line["message"])
    assert "Namespace nowhere is not found" in line["message"]
    await worker.answers("/health/ready", 503)
    assert await worker.leaves() == 0


async def test_a_running_call_is_finished_before_it_leaves(launch: Launch, lab: Lab) -> None:
    """SIGTERM during the paid call: one attempt, one payment, exit code 0."""
    await _making_takes(lab, 1.5)
    first = await launch()
    request = lab.request()
    handle = await lab.start(request)
    await _called(lab, request, "submit")
    assert await first.leaves() == 0
    await launch()
    assert (await handle.result()).state is GenerationState.COMPLETED
    history = await handle.fetch_history()
    assert _attempts(history)[SUBMIT_ACTIVITY] == [(1, first.identity)]
    assert not FAILED_ATTEMPT & {event.event_type for event in history.events}
    assert (await lab.ledgers(request)).paid == 1


async def test_a_call_that_outlasts_the_grace_does_not_hold_it(launch: Launch, lab: Lab) -> None:
    """Exit code 0 all the same; that the call may have been paid for is recorded before it ends."""
    await _making_takes(lab, 600)
    first = await launch(DURAGEN_WORKER__GRACEFUL_SECONDS="0.1")
    request = lab.request()
    handle = await lab.start(request)
    await _called(lab, request, "submit")
    assert await first.leaves() == 0
    assert (await handle.describe()).raw_description.pending_activities == []
    [failed] = [
        event.activity_task_failed_event_attributes.failure
        for event in (await handle.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED
    ]
    error = await lab.client.data_converter.decode_failure(failed)
    assert isinstance(error, ApplicationError)
    [recorded] = error.details
    assert (error.type, recorded["perhaps_paid"]) == (ErrorCode.OUTCOME_UNKNOWN, 1)
    await handle.terminate("seen enough: what a second call does is the workflow's own story")


async def test_a_job_is_handed_back_when_it_leaves(launch: Launch, lab: Lab) -> None:
    """SIGTERM while FLUX works: another worker goes on; one payment and no failed attempt."""
    await _making_takes(lab, 600)
    first = await launch()
    request = lab.flux_request()
    handle = await lab.start(request)
    await _called(lab, request, "poll")
    assert await first.leaves() == 0
    _make_jobs_ready(lab)
    second = await launch()
    assert (await handle.result()).state is GenerationState.COMPLETED
    history = await handle.fetch_history()
    assert _attempts(history)[COLLECT_ACTIVITY] == [(1, first.identity), (1, second.identity)]
    assert not FAILED_ATTEMPT & {event.event_type for event in history.events}
    assert (await lab.ledgers(request)).paid == 1


async def test_each_worker_does_the_work_of_its_queues_alone(launch: Launch, lab: Lab) -> None:
    """`generation` decides and delivers, `provider.flux` submits and collects."""
    deciding = await launch(DURAGEN_WORKER__QUEUES='["generation"]')
    making = await launch("--queue", "provider.flux")
    assert (await deciding.answers("/health/ready"))["queues"] == ["generation"]
    assert (await making.answers("/health/ready"))["queues"] == ["provider.flux"]
    request = lab.flux_request()
    handle = await lab.start(request)
    assert (await handle.result()).state is GenerationState.COMPLETED
    done = _attempts(await handle.fetch_history())
    assert done[SUBMIT_ACTIVITY] == [(1, making.identity)]
    assert done[COLLECT_ACTIVITY] == [(1, making.identity)]
    assert done[DELIVER_ACTIVITY] == [(1, deciding.identity)]


async def _queue(client: Client, name: str) -> DescribeTaskQueueResponse:
    kind = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    return await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=name), task_queue_type=kind
        )
    )


async def test_the_server_holds_the_rate_of_paid_calls(launch: Launch, client: Client) -> None:
    """Over all workers, for the queue of submissions; polling a job is free and not limited."""
    worker = await launch(DURAGEN_PROVIDERS__FLUX__SUBMISSIONS_PER_SECOND="7.5")
    await worker.answers("/health/ready")
    async with asyncio.timeout(100):
        while True:
            limit = (await _queue(client, provider_queue("flux"))).effective_rate_limit
            if limit.rate_limit_source == RateLimitSource.RATE_LIMIT_SOURCE_WORKER:
                break
            await asyncio.sleep(0.02)
    assert limit.requests_per_second == 7.5
    jobs = (await _queue(client, provider_jobs_queue("flux"))).effective_rate_limit
    assert jobs.rate_limit_source == RateLimitSource.RATE_LIMIT_SOURCE_SYSTEM


def _about(worker: WorkerProcess, request: GenerationRequested) -> list[dict[str, Any]]:
    return [
        line
        for line in worker.lines()
        if line.get("correlationId") == str(request.correlation_id)
        and line.get("requestId") == str(request.request_id)
    ]


async def test_the_log_says_of_which_generation_a_line_is(launch: Launch, lab: Lab) -> None:
    """A failed activity is found by its correlationId, whoever wrote the line."""
    worker = await launch()
    request = lab.request(prompt="sandbox:unauthorized")
    other = lab.request()
    handle = await lab.start(request)
    await lab.outcome(other)
    await until(lambda: _about(worker, request))
    [failed] = _about(worker, request)
    assert "AUTH_CONFIG" in failed["exception"]
    assert failed["level"] == "warning"
    assert _about(worker, other) == []
    assert [line for line in worker.lines() if "exception" in line] == [failed]
    with pytest.raises(WorkflowFailureError):
        await handle.result()
