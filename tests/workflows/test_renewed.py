"""A generation that is parked for days goes on in a fresh history."""

from datetime import timedelta

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from contracts.errors import DeliveryError, ErrorCode
from contracts.generation import (
    DeliveryDecision,
    DeliveryTrouble,
    Failure,
    GenerationState,
    Outcome,
    Parked,
    Plan,
)
from contracts.names import (
    GENERATION_QUEUE,
    GENERATION_WORKFLOW,
    PARKED_MEMO,
    RETRY_DELIVERY_UPDATE,
    workflow_id,
)
from tests.lab import Handle, Lab, working
from workers.settings import Settings
from workflows.options import LONG_HISTORY_EVENTS

LONG = timedelta(days=4)
"""More rounds of tries than one history may hold, at one an hour."""


async def _renewed(lab: Lab, environment: WorkflowEnvironment, first: Handle) -> Handle:
    """Parked until its history was renewed; the run that goes on."""
    await lab.reaches(first, GenerationState.PARKED)
    for _ in range(LONG.days):  # a day at a time: the call to wait has a limit of its own
        await environment.sleep(timedelta(days=1))
    described = await lab.client.get_workflow_handle(first.id).describe()
    assert described.run_id != first.first_execution_run_id
    return lab.client.get_workflow_handle(first.id, run_id=described.run_id, result_type=Outcome)


async def test_a_renewed_one_is_delivered_from_one_paid_call(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings
) -> None:
    """Its rounds go on, the list still finds it, and an operator's try answers."""
    lab, environment = skipping
    await lab.break_odoo(status=404)
    request = lab.request()
    async with working(lab.client, settings):
        first = await lab.start(request)
        run = await _renewed(lab, environment, first)
        view = await lab.reaches(run, GenerationState.PARKED)
        assert view.parked
        assert view.parked.attempts > LONG.days * 24
        assert (await run.describe()).history_length < LONG_HISTORY_EVENTS + 20
        assert (await (await run.describe()).memo())[PARKED_MEMO]["since"] == view.parked.since
        await lab.mend()
        told = await run.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
        assert told["parked"] is None
        assert (await run.result()).state is GenerationState.COMPLETED
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert ledgers.record
    assert ledgers.record["state"] == "completed"


async def test_a_canceled_one_ends_well_in_its_fresh_history(
    lab: Lab, client: Client, settings: Settings
) -> None:
    """The cancellation was asked of the run before: it is no failure that needs a person."""
    request = lab.request()
    canceled = Outcome(failure=Failure(code=ErrorCode.CANCELED, detail="canceled while generating"))
    trouble = DeliveryTrouble(code=DeliveryError.ODOO_REFUSED, detail="answered 404", attempts=70)
    async with working(client, settings):
        run = await client.start_workflow(
            GENERATION_WORKFLOW,
            args=[
                request,
                Parked(plan=Plan(odoo=lab.stack.odoo_url), outcome=canceled, trouble=trouble),
            ],
            id=workflow_id(request.request_id),
            task_queue=GENERATION_QUEUE,
            result_type=Outcome,
        )
        assert (await run.result()).state is GenerationState.CANCELED
        assert (await run.describe()).status is WorkflowExecutionStatus.COMPLETED
    [delivery] = (await lab.ledgers(request)).deliveries
    assert delivery["event"]["errorCode"] == ErrorCode.CANCELED
