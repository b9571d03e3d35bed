"""A generation that is parked for days continues as new."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from contracts.errors import ErrorCode
from contracts.generation import FlowRules, GenerationState, Outcome
from contracts.names import PARKED_MEMO, RETRY_DELIVERY_UPDATE
from contracts.tasks import DeliveryDecision
from starter.operations.bulk import these
from starter.operations.rerun import Rerun, Target, rerun
from tests.lab import Handle, Lab, working
from workers.settings import Settings

LONG = timedelta(days=4)
"""More rounds of tries than one history may hold, at one an hour."""


async def _continued(lab: Lab, environment: WorkflowEnvironment, first: Handle) -> Handle:
    """Parked until it continued as new; the run that goes on."""
    await lab.reaches(first, GenerationState.PARKED)
    for _ in range(LONG.days):  # a day at a time: the call to wait has a limit of its own
        await environment.sleep(timedelta(days=1))
    described = await lab.client.get_workflow_handle(first.id).describe()
    assert described.run_id != first.first_execution_run_id
    return lab.client.get_workflow_handle(first.id, run_id=described.run_id, result_type=Outcome)


async def test_a_continued_one_is_delivered_from_one_paid_call(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings
) -> None:
    """Its rounds go on, the list still finds it, and an operator's try answers."""
    lab, environment = skipping
    await lab.break_odoo(status=404)
    request = lab.request()
    async with working(lab.client, settings):
        first = await lab.start(request)
        run = await _continued(lab, environment, first)
        view = await lab.reaches(run, GenerationState.PARKED)
        assert view.parked
        assert view.parked.attempts > LONG.days * 24
        assert (await run.describe()).history_length < FlowRules().long_history_events + 20
        assert (await (await run.describe()).memo())[PARKED_MEMO]["since"] == view.parked.since
        await lab.clear_faults()
        view = await run.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
        assert view["parked"] is None
        assert (await run.result()).state is GenerationState.COMPLETED
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert ledgers.record
    assert ledgers.record["state"] == "completed"


async def _retried_until_continued(lab: Lab, first: Handle) -> Handle:
    """As often as it takes: some 20 events each. On the real server, whose clock is ours."""
    await lab.reaches(first, GenerationState.PARKED)
    latest = lab.client.get_workflow_handle(first.id, result_type=Outcome)
    async with asyncio.timeout(100):
        while (await latest.describe()).run_id == first.first_execution_run_id:
            with suppress(
                WorkflowUpdateFailedError, RPCError
            ):  # it is just being tried, or continued
                await latest.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
    return latest


async def test_a_canceled_one_ends_well_when_it_is_continued(lab: Lab, settings: Settings) -> None:
    """The cancellation was asked of the run before: it is no failure that needs a person."""
    await lab.break_images({"kind": "hang"})
    await lab.break_odoo(status=404)
    request = lab.request()
    async with working(lab.client, settings):
        first = await lab.start(request)
        async with asyncio.timeout(100):
            while not (await lab.ledgers(request)).calls:
                await asyncio.sleep(0.05)
        await first.cancel()
        latest = await _retried_until_continued(lab, first)
        await lab.reaches(latest, GenerationState.PARKED)
        await lab.clear_faults()
        await latest.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
        assert (await latest.result()).state is GenerationState.CANCELED
        assert (await latest.describe()).status is WorkflowExecutionStatus.COMPLETED
    ledgers = await lab.ledgers(request)
    assert ledgers.record
    assert ledgers.record["error_code"] == ErrorCode.CANCELED


async def test_a_failed_one_is_made_again_from_its_first_run(lab: Lab, settings: Settings) -> None:
    """What it took along is the failure; the plan is in the run before."""
    await lab.break_images({"kind": "status", "status": 401})
    await lab.break_odoo(status=404)
    request = lab.request()
    async with working(lab.client, settings):
        latest = await _retried_until_continued(lab, await lab.start(request))
        await lab.reaches(latest, GenerationState.PARKED)
        await lab.clear_faults()
        await latest.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
        with pytest.raises(WorkflowFailureError):
            await latest.result()
        targets = these([Target(latest.id)])
        [again] = [each async for each in rerun(lab.client, targets, DeliveryDecision(by="test"))]
        assert again.result is Rerun.STARTED_AGAIN
        assert (await latest.result()).state is GenerationState.COMPLETED
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert ledgers.record
    assert ledgers.record["state"] == "completed"
