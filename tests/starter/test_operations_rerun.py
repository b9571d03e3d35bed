"""Failed generations as operators see them: listed, and run again without paying twice."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

from contracts.errors import DeliveryError, ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import DeliveryTrouble, GenerationState, Outcome, Parked, Plan
from contracts.names import GENERATION_QUEUE, GENERATION_WORKFLOW
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID
from starter.operations.bulk import these
from starter.operations.failed import BATCH, failed
from starter.operations.parked import abandon
from starter.operations.rerun import Rerun, all_failed, rerun
from tests.lab import Lab
from tests.starter.operating import (
    BY,
    STATUS,
    begun,
    ended,
    ends,
    failed_with,
    id_of,
    is_delivered_once,
    parked_with,
    refused,
    rerun_by_id,
    runs_of,
    until,
)

pytestmark = pytest.mark.usefixtures("desk_worker")

TIMER_STARTED = EventType.EVENT_TYPE_TIMER_STARTED
NO_MODEL = "99999999-9999-4999-8999-999999999999"


async def _ids(desk: Lab, error: str | None = None) -> set[str]:
    return {each.workflow_id async for each in failed(desk.client, error)}


async def _rerun_all(
    desk: Lab, error: str | None = None, *, pay_again: bool = False
) -> dict[str, Rerun]:
    targets = all_failed(desk.client, error, pay_again=pay_again)
    results = rerun(desk.client, targets, BY, error=error, pay_again=pay_again)
    return {each.workflow_id: each.result async for each in results}


async def _terminated_while_parked(desk: Lab) -> GenerationRequested:
    [request] = await parked_with(desk)
    await desk.client.get_workflow_handle(id_of(request)).terminate("a test")
    await desk.clear_faults()
    return request


async def test_the_list_says_why_by_code(desk: Lab) -> None:
    """Code, provider, when and the detail; those of one code when it is named."""
    [no_key] = await failed_with(desk)
    [no_model] = await begun(desk, model_id=NO_MODEL)
    await ended(desk, no_model)
    await until(lambda: _ids(desk), {id_of(no_key), id_of(no_model)})
    found = {each.code: each async for each in failed(desk.client)}
    assert set(found) == {ErrorCode.AUTH_CONFIG, ErrorCode.MODEL_CONFIG}
    assert found[ErrorCode.AUTH_CONFIG].provider == "openai"
    assert "401" in found[ErrorCode.AUTH_CONFIG].detail
    assert found[ErrorCode.AUTH_CONFIG].failed_at
    assert found[ErrorCode.AUTH_CONFIG].correlation_id == str(no_key.correlation_id)
    assert NO_MODEL in found[ErrorCode.MODEL_CONFIG].detail
    assert await _ids(desk, ErrorCode.MODEL_CONFIG) == {id_of(no_model)}


async def test_after_the_fix_a_failed_one_is_made(desk: Lab) -> None:
    """Odoo's record goes from failed to completed, release then capture, for one paid call."""
    [request] = await failed_with(desk)
    assert (await rerun_by_id(desk, request)).result is Rerun.STARTED_AGAIN
    await ends(desk, request, GenerationState.COMPLETED)
    await is_delivered_once(desk, request, ("release", "capture"))
    await until(lambda: _ids(desk), set())
    assert await runs_of(desk, request) == 2
    assert await refused(desk, request) == "it is completed"


async def test_it_does_not_look_failed_while_it_runs_again(desk: Lab) -> None:
    """The attributes of the new run are those of its beginning; its plan and route are new."""
    [request] = await failed_with(desk)
    await desk.break_images({"kind": "hang"})
    await rerun_by_id(desk, request)
    handle = desk.client.get_workflow_handle(id_of(request))
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert described.typed_search_attributes[STATUS] != GenerationState.FAILED
    assert "failure" not in await described.memo()
    await desk.reaches(handle, GenerationState.GENERATING)
    await handle.terminate()


async def test_two_operators_at_once_make_one_run(desk: Lab) -> None:
    """However often it is asked at the same moment."""
    [request] = await failed_with(desk)
    results = await asyncio.gather(*(rerun_by_id(desk, request) for _ in range(8)))
    found = Counter(each.result for each in results)
    assert found == {Rerun.STARTED_AGAIN: 1, Rerun.REFUSED: 7}
    await ends(desk, request, GenerationState.COMPLETED)
    assert await runs_of(desk, request) == 2
    await is_delivered_once(desk, request, ("release", "capture"))


async def test_two_operators_run_all_again_at_once(desk: Lab) -> None:
    """Each generation has one new run, whoever began it."""
    requests = await failed_with(desk, 10)
    await until(lambda: _ids(desk), {*map(id_of, requests)})
    first, second = await asyncio.gather(_rerun_all(desk), _rerun_all(desk))
    for request in requests:
        came_to = [each.get(id_of(request)) for each in (first, second)]
        assert came_to.count(Rerun.STARTED_AGAIN) == 1
        await ends(desk, request, GenerationState.COMPLETED)
        assert await runs_of(desk, request) == 2
        await is_delivered_once(desk, request, ("release", "capture"))


async def test_an_image_that_exists_is_delivered_and_not_paid_again(desk: Lab) -> None:
    """Terminated while parked: the new run begins after the image, and delivers at once."""
    request = await _terminated_while_parked(desk)
    assert (await rerun_by_id(desk, request)).result is Rerun.DELIVERING
    await ends(desk, request, GenerationState.COMPLETED)
    await is_delivered_once(desk, request)
    assert len((await desk.ledgers(request)).calls) == 1


async def test_an_abandoned_one_is_delivered_after_all(desk: Lab) -> None:
    """And does not look abandoned any more; what was decided about the old run is forgotten."""
    [request] = await parked_with(desk)
    await abandon(desk.client, id_of(request), BY)
    await ends(desk, request, GenerationState.ABANDONED)
    await desk.clear_faults()
    assert (await rerun_by_id(desk, request)).result is Rerun.DELIVERING
    await ends(desk, request, GenerationState.COMPLETED)
    await is_delivered_once(desk, request)
    view = await desk.view(desk.client.get_workflow_handle(id_of(request)))
    assert view.abandoned is None


async def test_an_abandoned_refusal_is_delivered_without_another_call(desk: Lab) -> None:
    """A user's error that Odoo never got: the same outcome goes to Odoo."""
    await desk.break_odoo(status=404)
    [request] = await begun(desk, prompt="something forbidden")
    handle = desk.client.get_workflow_handle(id_of(request))
    await desk.reaches(handle, GenerationState.PARKED)
    await abandon(desk.client, id_of(request), BY)
    await ended(desk, request)
    await desk.clear_faults()
    assert (await rerun_by_id(desk, request)).result is Rerun.DELIVERING
    await ends(desk, request, GenerationState.FAILED)
    ledgers = await desk.ledgers(request)
    assert len(ledgers.calls) == 1
    assert ledgers.record
    assert ledgers.record["error_code"] == ErrorCode.POLICY_INPUT


async def test_an_abandoned_cancellation_is_delivered_after_all(desk: Lab) -> None:
    """Nothing is made; Odoo receives the cancellation."""
    await desk.break_images({"kind": "hang"})
    await desk.break_odoo(status=404)
    [request] = await begun(desk)
    handle = desk.client.get_workflow_handle(id_of(request))
    await desk.reaches(handle, GenerationState.GENERATING)
    await handle.cancel()
    await desk.reaches(handle, GenerationState.PARKED)
    await abandon(desk.client, id_of(request), BY)
    await ends(desk, request, GenerationState.ABANDONED)
    await desk.clear_faults()
    calls = len((await desk.ledgers(request)).calls)
    assert (await rerun_by_id(desk, request)).result is Rerun.DELIVERING
    await ends(desk, request, GenerationState.CANCELED)
    ledgers = await desk.ledgers(request)
    assert len(ledgers.calls) == calls
    assert ledgers.record
    assert ledgers.record["error_code"] == ErrorCode.CANCELED


async def test_one_that_never_began_is_refused(desk: Lab) -> None:
    """Terminated before a worker took it up: there is no step to go back to."""
    request = desk.request()
    handle = await desk.client.start_workflow(
        GENERATION_WORKFLOW, request, id=id_of(request), task_queue="nobody"
    )
    await handle.terminate("a test")
    assert "before a worker took it up" in await refused(desk, request)


async def test_one_that_was_continued_is_delivered_at_its_next_try(desk: Lab) -> None:
    """Parked for long, it continued as new: its outcome and its next try are taken along."""
    request = await _terminated_while_parked(desk)
    handle = desk.client.get_workflow_handle(id_of(request))
    outcome = (await desk.view(handle)).outcome
    assert isinstance(outcome, Outcome)
    soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    trouble = DeliveryTrouble(
        code=DeliveryError.ODOO_REFUSED, detail="no route", attempts=9, next_try=soon
    )
    plan = Plan(odoo=desk.stack.odoo_url)
    continued = await desk.client.start_workflow(
        GENERATION_WORKFLOW,
        args=[request, Parked(plan=plan, outcome=outcome, trouble=trouble)],
        id=id_of(request),
        task_queue=GENERATION_QUEUE,
    )
    await desk.reaches(continued, GenerationState.PARKED)
    await continued.terminate("a test")
    result = await rerun_by_id(desk, request)
    assert (result.result, result.detail) == (Rerun.DELIVERING, "")
    await ends(desk, request, GenerationState.COMPLETED)
    await is_delivered_once(desk, request)


async def test_one_ended_during_a_call_must_be_named(desk: Lab) -> None:
    """It may have been paid for, so a person looks first; then it is made again."""
    await desk.break_images({"kind": "hang"})
    [request] = await begun(desk)

    async def calls() -> int:
        return len((await desk.ledgers(request)).calls)

    await until(calls, 1)
    await desk.client.get_workflow_handle(id_of(request)).terminate("a test")
    assert "may be charged for" in await refused(desk, request)
    result = await rerun_by_id(desk, request, pay_again=True)
    assert result.result is Rerun.STARTED_AGAIN
    await ends(desk, request, GenerationState.COMPLETED)


async def test_one_ended_after_a_call_that_may_be_paid(desk: Lab) -> None:
    """In the pause before the next one, and parked with its failure: both are known by history."""
    lost = {"kind": "accept_then_reset"}
    await desk.break_images(lost)
    [pausing] = await begun(desk)
    handle = desk.client.get_workflow_handle(id_of(pausing))

    async def pauses() -> bool:
        history = await handle.fetch_history()
        return any(event.event_type == TIMER_STARTED for event in history.events)

    await until(pauses, wanted=True)
    await handle.terminate("a test")
    await desk.break_images(lost, lost)
    [parked] = await parked_with(desk)
    await desk.client.get_workflow_handle(id_of(parked)).terminate("a test")
    await desk.clear_faults()
    assert "may have been charged for (1 call without" in await refused(desk, pausing)
    assert "may have been charged for (2 calls without" in await refused(desk, parked)
    for request in (pausing, parked):
        again = await rerun_by_id(desk, request, pay_again=True)
        assert again.result is Rerun.STARTED_AGAIN
        await ends(desk, request, GenerationState.COMPLETED)


async def test_one_that_was_taken_back_is_not_made(desk: Lab) -> None:
    """Its job was paid for, its delivery was parked and ended by hand: Odoo gets the outcome."""
    await desk.break_images(always={"kind": "never_ready"})
    await desk.break_odoo(status=404)
    [request] = await begun(desk, model_id=FLUX_MODEL_ID)
    handle = desk.client.get_workflow_handle(id_of(request))

    async def polled() -> bool:
        calls = (await desk.ledgers(request)).calls
        return any(call["operation"] == "poll" for call in calls)

    await until(polled, wanted=True)
    await handle.cancel()
    await desk.reaches(handle, GenerationState.PARKED)
    await handle.terminate("a test")
    await desk.clear_faults()
    result = await rerun_by_id(desk, request)
    assert result.result is Rerun.DELIVERING
    await ends(desk, request, GenerationState.CANCELED)
    ledgers = await desk.ledgers(request)
    assert ledgers.paid == 1
    assert {each["event"]["errorCode"] for each in ledgers.deliveries} == {"CANCELED"}


async def test_what_ended_well_or_runs_is_refused(desk: Lab) -> None:
    """Completed, a user's error, parked, running, unknown: each with its own words."""
    [done] = await begun(desk)
    [forbidden] = await begun(desk, prompt="something forbidden")
    await ended(desk, done)
    await ended(desk, forbidden)
    [waiting] = await parked_with(desk)
    await desk.clear_faults()
    await desk.break_images({"kind": "hang"})
    [running] = await begun(desk)
    handle = desk.client.get_workflow_handle(id_of(running))
    await desk.reaches(handle, GenerationState.GENERATING)
    assert await refused(desk, done) == "it is completed"
    assert "user's error POLICY_INPUT" in await refused(desk, forbidden)
    assert "redeliver" in await refused(desk, waiting)
    assert await refused(desk, running) == "it is running"
    assert (await rerun_by_id(desk, desk.request())).result is Rerun.NOT_FOUND
    for request in (done, forbidden, waiting, running):
        assert await runs_of(desk, request) == 1
    await handle.terminate()


async def test_what_the_user_took_back_stays_so(desk: Lab) -> None:
    """A canceled generation is not made after all."""
    await desk.break_images({"kind": "hang"})
    [request] = await begun(desk)
    handle = desk.client.get_workflow_handle(id_of(request))
    await desk.reaches(handle, GenerationState.GENERATING)
    await handle.cancel()
    await ends(desk, request, GenerationState.CANCELED)
    assert "the user took it back" in await refused(desk, request)


async def test_all_leaves_out_what_a_person_must_look_at(desk: Lab) -> None:
    """What may have been charged for, whatever its code; named so, it is run again."""
    [no_key] = await failed_with(desk)
    await desk.break_images({"kind": "accept_then_reset"}, {"kind": "accept_then_reset"})
    [unknown] = await begun(desk)
    assert (await ended(desk, unknown)).status is WorkflowExecutionStatus.FAILED
    await desk.break_images(*[{"kind": "status", "status": 504}] * 2)
    [late] = await begun(desk)
    assert (await ended(desk, late)).status is WorkflowExecutionStatus.FAILED
    elsewhere = f"{desk.stack.images_url}/elsewhere"
    [undelivered] = await begun(desk, callback_url=elsewhere)
    await ended(desk, undelivered)
    await until(lambda: _ids(desk), {*map(id_of, (no_key, unknown, late, undelivered))})
    assert await _rerun_all(desk) == {
        id_of(no_key): Rerun.STARTED_AGAIN,
        id_of(unknown): Rerun.LEFT_OUT,
        id_of(late): Rerun.LEFT_OUT,
        id_of(undelivered): Rerun.LEFT_OUT,
    }
    await ends(desk, no_key, GenerationState.COMPLETED)
    assert await _rerun_all(desk, ErrorCode.PROVIDER_TIMEOUT) == {id_of(late): Rerun.LEFT_OUT}
    assert "may have been charged for (2 calls" in await refused(desk, late)
    assert await _rerun_all(desk, ErrorCode.PROVIDER_TIMEOUT, pay_again=True) == {
        id_of(late): Rerun.STARTED_AGAIN
    }
    assert (await rerun_by_id(desk, unknown, pay_again=True)).result is Rerun.STARTED_AGAIN
    for request in (unknown, late):
        await ends(desk, request, GenerationState.COMPLETED)


async def test_another_code_is_refused(desk: Lab) -> None:
    """An id and a code that do not fit are a mistake."""
    [request] = await failed_with(desk)
    result = await rerun_by_id(desk, request, error=ErrorCode.QUOTA_EXHAUSTED)
    assert result.result is Rerun.REFUSED
    assert "AUTH_CONFIG" in result.detail


async def test_one_that_was_run_again_meanwhile_is_left_alone(desk: Lab) -> None:
    """A list is some moments old: what it calls failed may have a newer run."""
    [request] = await failed_with(desk)
    await until(lambda: _ids(desk), {id_of(request)})
    stale = [each async for each in all_failed(desk.client)]
    await rerun_by_id(desk, request)
    await ends(desk, request, GenerationState.COMPLETED)
    [result] = [each async for each in rerun(desk.client, these(stale), BY)]
    assert (result.result, result.detail) == (Rerun.REFUSED, "it was run again meanwhile")
    assert await runs_of(desk, request) == 2


async def test_one_that_failed_again_is_listed_once(desk: Lab) -> None:
    """With its latest run; the run before it is history."""
    [request] = await failed_with(desk)
    await desk.break_images(always={"kind": "status", "status": 402})
    await rerun_by_id(desk, request)
    await ended(desk, request)

    async def codes() -> list[str]:
        return [each.code async for each in failed(desk.client)]

    await until(codes, [ErrorCode.QUOTA_EXHAUSTED])


async def test_the_list_goes_over_pages(desk: Lab) -> None:
    """More than a page failed; those run again are missing from it, and no others."""
    requests = await begun(desk, BATCH + 5, model_id=NO_MODEL)
    for request in requests:
        await ended(desk, request)
    await until(lambda: _ids(desk), {*map(id_of, requests)})
    again, rest = requests[:3], requests[3:]
    await desk.break_odoo(hang=True)  # they stay away from their end
    for request in again:
        await rerun_by_id(desk, request)
    await until(lambda: _ids(desk), {*map(id_of, rest)})
    for request in again:
        await desk.client.get_workflow_handle(id_of(request)).terminate()
