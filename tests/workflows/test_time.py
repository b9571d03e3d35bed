"""What takes minutes and hours, on the server whose clock jumps ahead."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from contracts import names
from contracts.errors import DeliveryError, ErrorCode
from contracts.generation import (
    DeliveryTrouble,
    Failure,
    GenerationState,
    Outcome,
    Parked,
    Plan,
)
from contracts.tasks import DeliveryDecision
from tests.lab import TWO_ROUTES_MODEL_ID, Handle, Lab, working
from workers.settings import Settings
from workflows import options


async def _took(handle: Handle) -> timedelta:
    """From start to close by the server's clock, which runs on by years once nothing waits."""
    described = await handle.describe()
    assert described.close_time
    return described.close_time - described.start_time


async def test_the_image_service_is_tried_twice_more_then_given_up(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """spec: 2 retries, 5 s fixed; then PROVIDER_UNAVAILABLE, delivered to Odoo once."""
    lab, _ = timeless
    await lab.break_images(always={"kind": "status", "status": 500})
    request = lab.request()
    handle = await lab.start(request)
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.type == ErrorCode.PROVIDER_UNAVAILABLE
    assert timedelta(seconds=10) <= await _took(handle) < timedelta(seconds=60)
    ledgers = await lab.ledgers(request)
    assert len(ledgers.calls) == 3
    assert len(ledgers.deliveries) == 1


async def test_retry_after_wins_over_the_fixed_pause(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """A 429 that asks for two minutes is asked again after two minutes."""
    lab, _ = timeless
    await lab.break_images({"kind": "status", "status": 429, "headers": {"retry-after": "120"}})
    request = lab.request()
    handle = await lab.start(request)
    assert (await handle.result()).state is GenerationState.COMPLETED
    assert timedelta(seconds=120) <= await _took(handle) < timedelta(minutes=10)
    assert len((await lab.ledgers(request)).calls) == 2


async def test_a_reply_lost_twice_is_not_paid_a_third_time(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """Accepted and then reset, twice: OUTCOME_UNKNOWN after two submissions, no third, no route."""
    lab, _ = timeless
    await lab.break_images(always={"kind": "accept_then_reset"})
    request = lab.request(model_id=TWO_ROUTES_MODEL_ID)
    with pytest.raises(WorkflowFailureError) as raised:
        await (await lab.start(request)).result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.type == ErrorCode.OUTCOME_UNKNOWN
    assert (await lab.ledgers(request)).paid == 2


async def test_a_lost_job_is_submitted_once_more(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """`Task not found`: the job is submitted again, once, and then the image comes."""
    lab, _ = timeless
    await lab.break_images({"kind": "job_lost", "on": "poll"})
    request = lab.flux_request()
    assert (await lab.outcome(request)).state is GenerationState.COMPLETED
    assert (await lab.ledgers(request)).paid == 2


async def test_a_job_lost_twice_is_not_paid_a_third_time(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """The taxonomy's "submit once more": then JOB_LOST, delivered to Odoo."""
    lab, _ = timeless
    await lab.break_images(always={"kind": "job_lost", "on": "poll"})
    request = lab.flux_request()
    with pytest.raises(WorkflowFailureError) as raised:
        await (await lab.start(request)).result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.type == ErrorCode.JOB_LOST
    assert (await lab.ledgers(request)).paid == 2


async def test_the_next_route_follows_when_retries_are_used_up(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """Three times 500 from the first provider: the second makes the image."""
    lab, _ = timeless
    await lab.break_images(*[{"kind": "status", "status": 500}] * 3)
    request = lab.request(model_id=TWO_ROUTES_MODEL_ID)
    outcome = await lab.outcome(request)
    assert outcome.state is GenerationState.COMPLETED
    assert [each.failure.code for each in outcome.tried] == [ErrorCode.PROVIDER_UNAVAILABLE]
    assert (await lab.ledgers(request)).paid == 1


async def test_the_deadline_ends_a_service_that_is_always_busy(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """Ten minutes over all of it: an hour of Retry-After is not waited for."""
    lab, _ = timeless
    busy = {"kind": "status", "status": 429, "headers": {"retry-after": "3600"}}
    await lab.break_images(always=busy)
    request = lab.request()
    handle = await lab.start(request)
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.type == ErrorCode.RATE_LIMITED
    assert await _took(handle) < timedelta(minutes=12)


async def test_a_parked_delivery_tries_again_by_itself(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """spec: 3 retries; then parked, and a minute later Odoo, up again, has the outcome."""
    lab, _ = timeless
    await lab.break_odoo(status=503, times=4)
    request = lab.request()
    assert (await lab.outcome(request)).state is GenerationState.COMPLETED
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert len(ledgers.deliveries) == 5
    assert len({each["webhook_id"] for each in ledgers.deliveries}) == 1


async def test_a_delivery_parked_for_a_day_is_still_delivered(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """The pauses double up to an hour and never end; the image is made once."""
    lab, environment = timeless
    await lab.break_odoo(status=404)
    request = lab.request()
    handle = await lab.start(request)
    await lab.reaches(handle, GenerationState.PARKED)
    await environment.sleep(timedelta(days=1))
    view = await lab.reaches(handle, GenerationState.PARKED)
    assert view.parked
    # 1, 2, 4 … 32 minutes make six rounds in the first hour; then one an hour.
    assert 24 <= view.parked.attempts <= 30
    await lab.clear_faults()
    assert (await handle.result()).state is GenerationState.COMPLETED
    assert (await lab.ledgers(request)).paid == 1


async def test_after_its_age_a_parked_delivery_waits_to_be_asked_for(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings
) -> None:
    """It is not tried by itself any more, is still parked, and an operator delivers it."""
    lab, environment = skipping
    limits = settings.generation.model_copy(update={"try_parked_seconds": 3_600})
    async with working(lab.client, settings.model_copy(update={"generation": limits})):
        await lab.break_odoo(status=404)
        request = lab.request()
        handle = await lab.start(request)
        await lab.reaches(handle, GenerationState.PARKED)
        await environment.sleep(timedelta(days=1))
        view = await lab.reaches(handle, GenerationState.PARKED)
        assert view.parked
        # At once, then after 1, 3, 7, 15, 31 and 63 minutes: the last is past the age.
        assert (view.parked.attempts, view.parked.rests, view.parked.next_try) == (7, True, None)
        tried = len((await lab.ledgers(request)).deliveries)
        await lab.clear_faults()
        await environment.sleep(timedelta(days=1))
        assert len((await lab.ledgers(request)).deliveries) == tried
        await handle.execute_update(names.RETRY_DELIVERY_UPDATE, DeliveryDecision(by="a person"))
        assert (await handle.result()).state is GenerationState.COMPLETED
        assert (await lab.ledgers(request)).paid == 1


async def test_what_no_worker_takes_is_tried_less_and_less_often(
    timeless: tuple[Lab, WorkflowEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands that wait for their turn at one Odoo must not fill its queue again each minute."""
    lab, environment = timeless
    # The server's clock does not jump while an activity waits.
    monkeypatch.setattr(options, "DELIVER_QUEUE_TIMEOUT", timedelta(milliseconds=200))
    request, nobodys = lab.request(), "http://odoo-of-no-worker.example.com"
    failure = Failure(code=ErrorCode.PROVIDER_UNAVAILABLE, detail="answered 503")
    trouble = DeliveryTrouble(code=DeliveryError.ODOO_UNAVAILABLE, detail="", attempts=3)
    parked = Parked(plan=Plan(odoo=nobodys), outcome=Outcome(failure=failure), trouble=trouble)
    handle: Handle = await lab.client.start_workflow(
        names.GENERATION_WORKFLOW,
        args=[request, parked],
        id=names.workflow_id(request.request_id),
        task_queue=names.GENERATION_QUEUE,
        result_type=Outcome,
    )
    for _ in range(12):  # the call to wait has a limit of its own
        await environment.sleep(timedelta(hours=1))
    view = await lab.reaches(handle, GenerationState.PARKED)
    assert view.parked
    # Pauses of 1, 2, 4 … 32 minutes, then of an hour.
    assert 14 <= view.parked.not_taken <= 18
    assert view.parked.attempts == 3


async def test_a_job_is_asked_after_until_the_service_answers_again(
    timeless: tuple[Lab, WorkflowEnvironment],
) -> None:
    """Polling is free and the job is paid for: six refused polls cost no second job."""
    lab, _ = timeless
    await lab.break_images(*[{"kind": "status", "status": 503, "on": "poll"}] * 6)
    request = lab.flux_request()
    assert (await lab.outcome(request)).state is GenerationState.COMPLETED
    assert (await lab.ledgers(request)).paid == 1


@pytest.mark.parametrize(("failures", "code"), [(2, None), (3, "PROVIDER_UNAVAILABLE")])
async def test_a_job_that_the_service_calls_failed_is_submitted_again(
    timeless: tuple[Lab, WorkflowEnvironment], failures: int, code: str | None
) -> None:
    """spec: 2 retries; the third `Error` is the end of this route."""
    lab, _ = timeless
    await lab.break_images(*[{"kind": "error"}] * failures)
    request = lab.flux_request()
    handle = await lab.start(request)
    if code is None:
        assert (await handle.result()).state is GenerationState.COMPLETED
    else:
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
        assert isinstance(raised.value.cause, ApplicationError)
        assert raised.value.cause.type == code
    submits = [c for c in (await lab.ledgers(request)).calls if c["operation"] == "submit"]
    assert len(submits) == 3
