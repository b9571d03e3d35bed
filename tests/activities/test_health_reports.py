"""How a process reports its calls, and how it learns which providers to avoid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from activities.collect import CollectActivities, JobMark
from activities.provider_health import REPORT_SECONDS, ProviderReports
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Failure, Route
from contracts.names import (
    HEALTH_QUERY,
    provider_health_id,
)
from contracts.provider_health import (
    Circuit,
    ProviderHealthView,
)
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, answer
from tests.activities.provider_calls import collection, flux
from tests.lab import Lab
from tests.workflows.relay import Relay, Wire
from workers.clients import Clients

pytestmark = pytest.mark.usefixtures("worker")

AWAY = Failure(code=ErrorCode.PROVIDER_UNAVAILABLE, detail="answered 503")
REFUSED = Failure(code=ErrorCode.POLICY_INPUT, detail="the prompt is refused")


@pytest.fixture
async def provider(lab: Lab) -> AsyncIterator[str]:
    """A provider in no settings: no worker probes it, no other test knows its health."""
    name = f"acme-{uuid4().hex[:8]}"
    yield name
    with suppress(RPCError):  # nothing was reported
        await _handle(lab, name).terminate("the test is over")


def _handle(lab: Lab, provider: str) -> WorkflowHandle[Any, Any]:
    return lab.client.get_workflow_handle(provider_health_id(provider))


async def _known(lab: Lab, provider: str) -> ProviderHealthView:
    return await _handle(lab, provider).query(HEALTH_QUERY, result_type=ProviderHealthView)


async def _signals(lab: Lab, provider: str) -> int:
    history = await _handle(lab, provider).fetch_history()
    signaled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    return sum(event.event_type == signaled for event in history.events)


async def test_a_thousand_calls_are_a_few_signals(lab: Lab, provider: str) -> None:
    """One batch each two seconds, whatever is going on; every call is counted."""
    reports = ProviderReports()
    async with reports.reporting(lab.client):
        for _ in range(10):
            for _ in range(90):
                reports.succeeded(provider)
            for _ in range(10):
                reports.failed(provider, REFUSED)
            await asyncio.sleep(REPORT_SECONDS / 8)
    view = await _known(lab, provider)
    assert (view.successes, view.failures) == (900, {ErrorCode.POLICY_INPUT: 100})
    assert await _signals(lab, provider) <= 3


async def test_the_last_batch_is_reported_when_the_process_leaves(lab: Lab, provider: str) -> None:
    """It need not wait two seconds for it."""
    reports = ProviderReports()
    async with asyncio.timeout(REPORT_SECONDS / 2), reports.reporting(lab.client):
        reports.failed(provider, AWAY)
    view = await _known(lab, provider)
    assert view.failures == {ErrorCode.PROVIDER_UNAVAILABLE: 1}
    assert (view.streak, view.details) == (1, {AWAY.code: AWAY.detail})


async def test_what_is_no_providers_fault_is_not_reported(lab: Lab, provider: str) -> None:
    """INTERNAL is ours. A success follows, so that there is something to look at."""
    reports = ProviderReports()
    async with reports.reporting(lab.client):
        reports.failed(provider, Failure(code=ErrorCode.INTERNAL, detail="the store is away"))
        reports.succeeded(provider)
    view = await _known(lab, provider)
    assert (view.successes, view.failures) == (1, {})
    assert await _signals(lab, provider) == 1


async def test_what_could_not_be_reported_is_in_the_next_batch(lab: Lab, provider: str) -> None:
    """Temporal was away: nothing raises, and two batches become one, in their order."""
    reports = ProviderReports()
    async with Relay(lab.stack.temporal_address) as relay:
        client = await Client.connect(relay.address, data_converter=pydantic_data_converter)
        relay.wire = Wire.CUT
        reports.succeeded(provider)
        for _ in range(7):
            reports.failed(provider, AWAY)
        async with reports.reporting(client):
            pass
        relay.wire = Wire.WHOLE
        reports.failed(provider, Failure(code=ErrorCode.JOB_LOST, detail="no such task"))
        async with reports.reporting(client):
            pass
    view = await _known(lab, provider)
    assert await _signals(lab, provider) == 1
    assert view.successes == 1
    assert view.failures == {ErrorCode.PROVIDER_UNAVAILABLE: 7, ErrorCode.JOB_LOST: 1}
    assert (view.streak, view.circuit) == (8, Circuit.OPEN)
    assert list(view.details) == [ErrorCode.PROVIDER_UNAVAILABLE, ErrorCode.JOB_LOST]


@pytest.mark.parametrize(
    ("earlier", "later", "streak"),
    [
        ([AWAY, AWAY], [AWAY], 3),
        ([AWAY, AWAY], [None, AWAY], 1),
        ([AWAY, AWAY], [REFUSED], 0),
        ([None], [AWAY], 1),
        ([AWAY], [Failure(code=ErrorCode.MODEL_CONFIG, detail="404")], 1),
    ],
)
async def test_a_success_of_the_later_batch_ends_the_streak(
    lab: Lab,
    provider: str,
    earlier: list[Failure | None],
    later: list[Failure | None],
    streak: int,
) -> None:
    """Merged or reported one by one: what came after the last sign of life is in a row."""
    reports = ProviderReports()
    for batch in (earlier, later):
        for ended in batch:
            if ended:
                reports.failed(provider, ended)
            else:
                reports.succeeded(provider)
        async with reports.reporting(lab.client):
            pass
    assert (await _known(lab, provider)).streak == streak


async def test_one_job_counts_once(
    lab: Lab, provider: str, clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """Refused polls count from the third in a row on; the job may be paid for once."""
    reports = ProviderReports()
    service = flux(clients.http, peer.url, poll_seconds=0.01)
    collect = CollectActivities(service, clients.images, clients.memory, reports).collect
    task = collection(asked, f"{peer.url}/poll")
    task = task.model_copy(update={"route": Route(provider=provider, model="m")})
    marks: list[JobMark] = []
    async with reports.reporting(lab.client):
        peer.says(answer(503))
        for number in range(1, 5):
            attempt = Attempt(number, marks)
            await attempt.failure(collect, task)
            marks = attempt.recorded[-1:]
            assert marks == [JobMark(job_id="j-1", refused=number)]
        peer.says(answer(200, {"status": "Pending", "progress": 0.4}), answer(503))
        attempt = Attempt(5, marks)
        await attempt.failure(collect, task)
        assert attempt.recorded[-1] == JobMark(job_id="j-1", percent=40, refused=1)
        peer.says(answer(200, {"status": "Task not found"}))
        await Attempt(6, attempt.recorded[-1:]).failure(collect, task)
    view = await _known(lab, provider)
    assert view.failures == {ErrorCode.PROVIDER_UNAVAILABLE: 2, ErrorCode.JOB_LOST: 1}
    assert view.perhaps_paid == 1
