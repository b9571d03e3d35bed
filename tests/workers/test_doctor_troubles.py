"""`duragen doctor` on what went wrong lately: providers' health, parked, failed, stuck."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from contracts.alerts import AdminAlert, AlertName, Severity
from contracts.errors import ErrorCode
from contracts.names import (
    ERROR_CODE,
    GENERATION_STATUS,
    GENERATION_WORKFLOW,
    ODOO_HEALTH_WORKFLOW,
    PROVIDER_HEALTH_WORKFLOW,
    odoo_health_id,
    provider_health_id,
)
from contracts.odoo_health import OdooHealthState
from contracts.provider_health import Bucket, Circuit, ProviderHealthState, ProviderHealthView
from deploy.local.stack.layout import program
from deploy.local.stack.local_stack import LocalStack
from tests.lab import Lab
from tests.workers.doctor_runs import doctor, spare, wrong
from workers.doctor import temporal
from workflows.odoo_health import OdooHealth
from workflows.provider_health import ProviderHealth


@pytest.fixture(scope="module")
async def client(examined: LocalStack) -> Client:
    """A client of the examined stack's Temporal server."""
    return await Client.connect(examined.temporal_address, data_converter=pydantic_data_converter)


@asynccontextmanager
async def _reported(client: Client, state: ProviderHealthState) -> AsyncIterator[None]:
    """A health workflow that knows `state`, ended by hand afterwards.

    On a queue of its own, where no worker probes: a probe would change what it knows, and end
    the workflow of a provider that the stack's worker does not know.
    """
    queue = str(uuid.uuid4())
    async with Worker(client, task_queue=queue, workflows=[ProviderHealth]):
        handle = await client.start_workflow(
            PROVIDER_HEALTH_WORKFLOW,
            state,
            id=provider_health_id(state.provider),
            task_queue=queue,
        )
        try:
            yield
        finally:
            await handle.terminate()


async def test_a_healthy_provider_is_shown_in_numbers(examined: LocalStack, client: Client) -> None:
    """Calls of the last minutes and what they failed with; nothing is wrong with a few."""
    now = time.time()
    failures = {ErrorCode.PROVIDER_TIMEOUT: 1}
    calls = Bucket(at=now, successes=39, failures=failures)
    async with _reported(client, ProviderHealthState(provider="flux", buckets=(calls,))):
        ended = await doctor(examined)
    assert ended.code == 0
    wanted = "ok    health of flux: 1 of 40 calls failed in the last 5 min (PROVIDER_TIMEOUT 1)"
    assert wanted in ended.out.splitlines()
    assert "health of flux: nothing was reported yet" in (await doctor(examined)).out


async def test_an_open_circuit_names_the_key(examined: LocalStack, client: Client) -> None:
    """A refused key: since when, how often, what the service said, the alert, the setting."""
    down = AdminAlert(
        name=AlertName.PROVIDER_DOWN,
        severity=Severity.CRITICAL,
        service="spare",
        error_type=ErrorCode.AUTH_CONFIG,
        summary="spare does not serve us",
    )
    state = ProviderHealthState(
        provider="spare",
        circuit=Circuit.OPEN,
        since="2026-11-21T08:00:00+00:00",
        buckets=(Bucket(at=time.time(), failures={ErrorCode.AUTH_CONFIG: 2}),),
        opened_by=ErrorCode.AUTH_CONFIG,
        details={ErrorCode.PROVIDER_TIMEOUT: "did not answer in time"},
        firing=(down,),
    )
    async with _reported(client, state):
        ended = await doctor(examined, **spare(examined))
    assert ended.code == 1
    [line] = [line for line in wrong(ended) if "health of " in line]
    parts = [
        "wrong health of spare: avoided since 2026-11-21T08:00:00+00:00; 2 of 2 calls failed",
        "(AUTH_CONFIG 2); last PROVIDER_TIMEOUT: did not answer in time",
        "; alert DuragenProviderDown (critical): spare does not serve us",
        "; set a valid key: providers.spare.api_key",
    ]
    assert [part for part in parts if part not in line] == [], line


async def test_an_odoo_that_is_away_is_wrong(examined: LocalStack, client: Client) -> None:
    """Since when, what it answered last, and that what waits goes on by itself."""
    odoo, queue = examined.odoo_url, str(uuid.uuid4())
    state = OdooHealthState(odoo=odoo, streak=8, away_since="2026-11-21T08:00:00+00:00")
    state = state.model_copy(update={"detail": "answered 503"})
    async with Worker(client, task_queue=queue, workflows=[OdooHealth]):
        handle = await client.start_workflow(
            ODOO_HEALTH_WORKFLOW, state, id=odoo_health_id(odoo), task_queue=queue
        )
        ended = await doctor(examined)
        await handle.terminate()
    [line] = wrong(ended)
    assert line == (
        f"wrong health of {odoo}: away since 2026-11-21T08:00:00+00:00, outcomes wait for it;"
        " last answer: answered 503; fix it; what waits goes on by itself"
    )


async def test_parked_deliveries_are_counted(examined: LocalStack, client: Client) -> None:
    """By what Odoo did, with the commands that list and fix."""
    parked = [await _parked(client, code) for code in ("ODOO_REFUSED", "ODOO_REFUSED", "TIMEOUT")]
    try:
        async with asyncio.timeout(100):
            while "parked deliveries: 3" not in (ended := await doctor(examined)).out:
                pass  # the index is a moment behind
    finally:
        for handle in parked:
            await handle.terminate()
    assert ended.code == 1
    [line] = wrong(ended)
    assert line == (
        "wrong parked deliveries: 3 (ODOO_REFUSED 2, other 1);"
        " duragen parked lists them; when Odoo is fixed: duragen redeliver --all"
    )


async def _parked(client: Client, code: str) -> WorkflowHandle[object, object]:
    """A generation that says it is parked; no worker ever takes it on."""
    pairs = [
        SearchAttributePair(SearchAttributeKey.for_keyword(GENERATION_STATUS), "parked"),
        SearchAttributePair(SearchAttributeKey.for_keyword(ERROR_CODE), code),
    ]
    return await client.start_workflow(
        GENERATION_WORKFLOW,
        id=f"generation-{uuid.uuid4()}",
        task_queue="nobody",
        search_attributes=TypedSearchAttributes(pairs),
    )


async def test_failed_generations_are_shown_and_nothing_wrong(
    examined: LocalStack, client: Client
) -> None:
    """An unknown model fails its generation; doctor says how many and what lists them."""
    async with Lab.open(examined, client) as lab:
        with pytest.raises(WorkflowFailureError):
            await lab.outcome(lab.request(model_id=uuid.uuid4()))
    wanted = "ok    failed generations: 1; duragen failed lists them"
    async with asyncio.timeout(100):
        while wanted not in (ended := await doctor(examined)).out.splitlines():
            pass  # the index is a moment behind
    assert ended.code == 0


@workflow.defn(name=GENERATION_WORKFLOW)
class Stumbling:
    """A generation whose code has a mistake."""

    @workflow.run
    async def run(self) -> None:
        """Fail the task, not the workflow."""
        raise RuntimeError("a mistake")


async def test_stuck_workflows_are_counted() -> None:
    """With how to list and replay them; on a server that reports the first stumble."""
    threshold = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1"
    bare = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program("temporal"),
        dev_server_extra_args=["--dynamic-config-value", threshold],
    )
    runner = UnsandboxedWorkflowRunner()
    async with Worker(bare.client, task_queue="q", workflows=[Stumbling], workflow_runner=runner):
        handle = await bare.client.start_workflow(Stumbling.run, id="stumbling", task_queue="q")
        async with asyncio.timeout(100):
            while (finding := await temporal.stuck(bare.client)).found == "none":
                await asyncio.sleep(0.05)
        await handle.terminate()
    await bare.shutdown()
    assert finding.found == "1, whose workflow tasks fail"
    assert "TemporalReportedProblems IS NOT NULL" in finding.fix
    assert "duragen replay ID" in finding.fix


async def test_health_that_no_worker_can_answer(client: Client) -> None:
    """The workflow is there, and no worker answers for it: the line says what to start."""
    state = ProviderHealthState(provider="orphan")
    handle = await client.start_workflow(
        PROVIDER_HEALTH_WORKFLOW, state, id=provider_health_id("orphan"), task_queue="nobody"
    )
    finding = await temporal.health(client, "orphan", timedelta(seconds=1))
    await handle.terminate()
    assert finding.found.startswith("no worker answers for it (")
    assert finding.fix == "duragen worker --queue generation"


def test_a_view_of_long_ago_says_that_there_were_no_calls() -> None:
    """A query's clock stands still between reports: the calls it counts may be of yesterday."""
    view = ProviderHealthView(
        provider="spare",
        circuit=Circuit.CLOSED,
        since="",
        as_of=time.time() - 301,
        window_seconds=300,
        successes=7,
        failures={},
        streak=0,
        details={},
        firing=(),
    )
    assert temporal._read("health of spare", view).found == "no calls in the last 5 min"
