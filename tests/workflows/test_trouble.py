"""What a generation does when its image service, its user or Odoo is in the way."""

import asyncio
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError, CancelledError

from contracts.errors import ErrorCode
from contracts.generation import GenerationState, Outcome
from contracts.names import (
    ABANDON_DELIVERY_UPDATE,
    GENERATION_QUEUE,
    GENERATION_STATUS,
    GENERATION_WORKFLOW,
    RETRY_DELIVERY_UPDATE,
    workflow_id,
)
from contracts.tasks import DeliveryDecision
from deploy.local.stack.config import CALLBACK_PATH
from tests.lab import TWO_ROUTES_MODEL_ID, Handle, Lab, working
from workers.settings import Settings

pytestmark = pytest.mark.usefixtures("worker")


async def _failure(handle: Handle) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause


async def _ledger_kinds(lab: Lab, request_id: object) -> list[str]:
    record = await lab.http.get(f"{lab.stack.odoo_url}/_sandbox/requests/{request_id}")
    return [entry["kind"] for entry in record.json()["ledger"]]


@pytest.mark.parametrize("flux", [False, True])
async def test_a_refused_prompt_ends_failed_and_is_delivered_once(lab: Lab, flux: bool) -> None:
    """POLICY_INPUT: no retry, EVT-AIG-003 with the friendly text, and the workflow completes."""
    changes = {"prompt": "something forbidden"}
    request = lab.flux_request(**changes) if flux else lab.request(**changes)
    outcome = await lab.outcome(request)
    assert outcome.failure
    assert outcome.failure.code is ErrorCode.POLICY_INPUT
    ledgers = await lab.ledgers(request)
    assert len([call for call in ledgers.calls if call["operation"] == "submit"]) == 1
    [delivery] = ledgers.deliveries
    event = delivery["event"]
    assert event["status"] == "failed"
    assert event["errorCode"] == "POLICY_INPUT"
    assert event["isUserError"]
    assert not event["isSystemError"]
    assert event["userMessage"] == outcome.failure.user_message
    assert outcome.failure.detail not in event["userMessage"]


async def test_a_system_error_fails_the_workflow_after_the_delivery(lab: Lab) -> None:
    """A refused key: no charge, no retry, EVT-AIG-003, and Temporal's Failed filter shows it."""
    request = lab.request(prompt="sandbox:unauthorized")
    cause = await _failure(await lab.start(request))
    assert cause.type == ErrorCode.AUTH_CONFIG
    assert cause.non_retryable
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 0
    assert len(ledgers.calls) == 1
    assert [each["event"]["errorCode"] for each in ledgers.deliveries] == ["AUTH_CONFIG"]
    assert await _ledger_kinds(lab, request.request_id) == ["release"]


async def test_an_unknown_model_costs_no_call(lab: Lab) -> None:
    """MODEL_CONFIG at once, delivered to Odoo, without any image service."""
    request = lab.request(model_id="99999999-9999-4999-8999-999999999999")
    assert (await _failure(await lab.start(request))).type == ErrorCode.MODEL_CONFIG
    ledgers = await lab.ledgers(request)
    assert ledgers.calls == []
    assert len(ledgers.deliveries) == 1


@pytest.mark.parametrize("where", ["another origin", "another path", "an odd spelling"])
async def test_a_callback_off_the_allow_list_is_never_called(lab: Lab, where: str) -> None:
    """The workflow fails, nothing is generated, and nothing is delivered."""
    urls = {
        "another origin": f"{lab.stack.images_url}{CALLBACK_PATH}",
        "another path": f"{lab.stack.odoo_url}/web/binary/upload",
        "an odd spelling": f"{lab.stack.odoo_url}/web/..{CALLBACK_PATH}",
    }
    request = lab.request(callback_url=urls[where])
    cause = await _failure(await lab.start(request))
    assert cause.type == ErrorCode.INVALID_INPUT
    assert "callbackUrl" in cause.message
    ledgers = await lab.ledgers(request)
    assert (ledgers.calls, ledgers.deliveries) == ([], [])


async def test_the_next_route_makes_the_image_when_the_first_is_misconfigured(
    lab: Lab,
) -> None:
    """The outcome names the route that was left, and why; Odoo gets the success alone."""
    await lab.break_images({"kind": "status", "status": 402})
    request = lab.request(model_id=TWO_ROUTES_MODEL_ID)
    outcome = await lab.outcome(request)
    assert outcome.state is GenerationState.COMPLETED
    [left] = outcome.tried
    assert (left.route.provider, left.failure.code) == ("openai", ErrorCode.QUOTA_EXHAUSTED)
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert [each["event"]["status"] for each in ledgers.deliveries] == ["completed"]


async def test_a_cancel_while_generating_is_delivered_and_ends_canceled(lab: Lab) -> None:
    """EVT-AIG-003 with CANCELED; the workflow's status in Temporal is Canceled."""
    await lab.break_images({"kind": "hang"})
    request = lab.request()
    handle = await lab.start(request)
    async with asyncio.timeout(100):
        while not (await lab.ledgers(request)).calls:
            await asyncio.sleep(0.05)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    [delivery] = (await lab.ledgers(request)).deliveries
    assert delivery["event"]["errorCode"] == "CANCELED"
    # The service had been called: it may charge for what was taken back.
    assert delivery["event"]["mayHaveBeenPaid"] is True
    assert await _ledger_kinds(lab, request.request_id) == ["capture"]


async def test_a_cancel_after_the_image_is_there_comes_too_late(lab: Lab) -> None:
    """A generation that is canceled while it is parked keeps its image and is delivered."""
    await lab.break_odoo(status=404)
    request = lab.request()
    handle = await lab.start(request)
    await lab.reaches(handle, GenerationState.PARKED)
    await handle.cancel()
    await lab.clear_faults()
    await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
    outcome = Outcome.model_validate(await handle.result())
    assert outcome.state is GenerationState.COMPLETED
    assert (await lab.ledgers(request)).paid == 1


async def test_a_refusal_by_odoo_parks_at_once_and_an_operator_delivers(lab: Lab) -> None:
    """404 is not tried again by itself; after `retry_delivery` Odoo has it, from one paid call."""
    await lab.break_odoo(status=404)
    request = lab.request()
    handle = await lab.start(request)
    view = await lab.reaches(handle, GenerationState.PARKED)
    assert view.parked
    assert view.parked.code == "ODOO_REFUSED"
    assert "404" in view.parked.detail
    assert len((await lab.ledgers(request)).deliveries) == 1
    await lab.clear_faults()
    await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
    assert (await handle.result()).state is GenerationState.COMPLETED
    ledgers = await lab.ledgers(request)
    assert (ledgers.paid, len(ledgers.deliveries)) == (1, 2)
    assert len({each["webhook_id"] for each in ledgers.deliveries}) == 1


async def test_an_abandoned_delivery_ends_the_generation_and_says_so(lab: Lab) -> None:
    """`abandon_delivery` completes the workflow; who gave it up, and why, stays visible."""
    await lab.break_odoo(status=404)
    request = lab.request()
    handle = await lab.start(request)
    await lab.reaches(handle, GenerationState.PARKED)
    decision = DeliveryDecision(by="ops", reason="the request was deleted")
    await handle.execute_update(ABANDON_DELIVERY_UPDATE, decision)
    assert (await handle.result()).state is GenerationState.COMPLETED
    view = await lab.view(handle)
    assert view.state is GenerationState.ABANDONED
    assert view.abandoned == "ops: the request was deleted"
    attributes = (await handle.describe()).typed_search_attributes
    assert attributes[SearchAttributeKey.for_keyword(GENERATION_STATUS)] == "abandoned"


async def test_an_update_is_refused_while_nothing_is_parked(lab: Lab) -> None:
    """The validators keep a decision out of the history when there is nothing to decide."""
    await lab.break_images({"kind": "hang"})
    handle = await lab.start(lab.request())
    await lab.reaches(handle, GenerationState.GENERATING)
    for update in (RETRY_DELIVERY_UPDATE, ABANDON_DELIVERY_UPDATE):
        with pytest.raises(Exception, match="Workflow update failed") as raised:
            await handle.execute_update(update, DeliveryDecision())
        assert "not parked" in str(raised.value.__cause__)
    await handle.terminate()


async def test_two_workers_share_one_generation(lab: Lab, settings: Settings) -> None:
    """A second worker changes nothing: one call, one delivery."""
    second = await Client.connect(
        lab.stack.temporal_address, data_converter=pydantic_data_converter
    )
    async with working(second, settings):
        request = lab.flux_request()
        await lab.outcome(request)
    ledgers = await lab.ledgers(request)
    assert (ledgers.paid, len(ledgers.deliveries)) == (1, 1)


async def test_marks_survive_on_the_real_server(lab: Lab) -> None:
    """A reply lost, then a 500, then success: the loss is remembered over the known answer."""
    await lab.break_images({"kind": "accept_then_reset"}, {"kind": "status", "status": 500})
    request = lab.request()
    outcome = await lab.outcome(request)
    assert outcome.state is GenerationState.COMPLETED
    assert (await lab.ledgers(request)).paid == 2


async def test_a_request_that_breaks_a_rule_ends_and_is_delivered(lab: Lab) -> None:
    """However it passed the entry points: INVALID_INPUT names the fields, without values."""
    sound = lab.request(prompt="a secret prompt")
    event = {**sound.model_dump(mode="json"), "resolution": "20x20", "seed": -1}
    handle = await lab.client.start_workflow(
        GENERATION_WORKFLOW,
        event,
        id=workflow_id(sound.request_id),
        task_queue=GENERATION_QUEUE,
        result_type=Outcome,
    )
    outcome = await handle.result()
    assert outcome.failure
    assert outcome.failure.code is ErrorCode.INVALID_INPUT
    assert "resolution" in outcome.failure.detail
    assert "seed" in outcome.failure.detail
    assert "20x20" not in outcome.failure.detail
    ledgers = await lab.ledgers(sound)
    assert ledgers.calls == []
    assert [each["event"]["errorCode"] for each in ledgers.deliveries] == ["INVALID_INPUT"]


@pytest.mark.parametrize("event", [{}, [], "text", {"requestId": "no uuid"}])
async def test_what_is_no_request_at_all_fails_at_once(lab: Lab, event: object) -> None:
    """No Odoo can get the outcome, so the workflow fails where operators look."""
    handle: Handle = await lab.client.start_workflow(
        GENERATION_WORKFLOW, event, id=f"generation-{uuid4()}", task_queue=GENERATION_QUEUE
    )
    assert (await _failure(handle)).type == ErrorCode.INVALID_INPUT


async def test_a_cancel_that_meets_a_failing_call_is_still_delivered(lab: Lab) -> None:
    """Canceled, and then the service answers with half an image: Odoo receives CANCELED."""
    faults = {"latency_seconds": 2, "queue": [{"kind": "half_image"}]}
    url = f"{lab.stack.images_url}/_sandbox/faults"
    (await lab.http.put(url, json=faults)).raise_for_status()
    request = lab.request()
    handle = await lab.start(request)
    await lab.reaches(handle, GenerationState.GENERATING)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    [delivery] = (await lab.ledgers(request)).deliveries
    assert delivery["event"]["errorCode"] == "CANCELED"
