"""Making the image on one route: submit, and collect when the service answers with a job."""

import asyncio
from datetime import datetime, timedelta

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType

with workflow.unsafe.imports_passed_through():
    from contracts.errors import ErrorCode
    from contracts.events import GenerationRequested
    from contracts.generation import (
        MAX_DETAIL_CHARACTERS,
        Collected,
        CollectTask,
        Failure,
        Job,
        Route,
        StoredImage,
        SubmitTask,
        Submitted,
    )
    from contracts.names import (
        COLLECT_ACTIVITY,
        SUBMIT_ACTIVITY,
        provider_jobs_queue,
        provider_queue,
    )
    from workflows import options

_WAIT = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
# A canceled call is waited for: when it made an image all the same, the image counts.


async def make_image(
    request: GenerationRequested, route: Route, deadline: datetime
) -> StoredImage | Failure:
    """The image, or why this route has none. Raises CancelledError when the user cancels.

    A job that got lost, and a result that expired for good, are submitted once more.
    """
    failure = None
    for _ in range(2):
        try:
            _stop_if_canceled()  # nothing is paid for a request that was taken back before
            submitted = await _submit(request, route, deadline)
            if submitted.image:
                return submitted.image
            if submitted.job:
                _stop_if_canceled()
                return await _collect(request, route, submitted.job, deadline)
            failure = Failure(code=ErrorCode.INTERNAL, detail="neither an image nor a job")
        except ActivityError as error:
            if workflow.cancellation_reason() is not None:
                raise
            failure = failure_of(error)
        if failure.code not in {ErrorCode.JOB_LOST, ErrorCode.RESULT_EXPIRED}:
            break
    return failure or Failure(code=ErrorCode.INTERNAL, detail="no attempt was made")


async def _submit(request: GenerationRequested, route: Route, deadline: datetime) -> Submitted:
    submitted: Submitted = await workflow.execute_activity(
        SUBMIT_ACTIVITY,
        SubmitTask(request=request, route=route),
        result_type=Submitted,
        task_queue=provider_queue(route.provider),
        start_to_close_timeout=timedelta(seconds=route.timeout_seconds) + options.STORE_ALLOWANCE,
        schedule_to_close_timeout=_time_left(deadline),
        heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
        retry_policy=options.PROVIDER_RETRY,
        cancellation_type=_WAIT,
        summary=f"{route.provider}: {route.model}, {request.resolution}",
    )
    return submitted


async def _collect(
    request: GenerationRequested, route: Route, job: Job, deadline: datetime
) -> StoredImage:
    while True:
        collected: Collected = await workflow.execute_activity(
            COLLECT_ACTIVITY,
            CollectTask(request=request, route=route, job=job),
            result_type=Collected,
            task_queue=provider_jobs_queue(route.provider),
            schedule_to_close_timeout=_time_left(deadline),
            heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
            retry_policy=options.PROVIDER_RETRY,
            cancellation_type=_WAIT,
            summary=f"{route.provider}: job {job.id[:60]}",
        )
        if collected.image:
            return collected.image
        # The worker is leaving and hands the job back; another one goes on.


def _stop_if_canceled() -> None:
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError


def _time_left(deadline: datetime) -> timedelta:
    # Zero would mean "no limit" to the server.
    return max(deadline - workflow.now(), timedelta(seconds=1))


def failure_of(error: ActivityError) -> Failure:
    """What made an activity fail, unwrapped and cut to size."""
    cause = error.cause
    detail = message_of(cause or error)
    if isinstance(cause, exceptions.TimeoutError):
        # The last attempt's own error says more than that time ran out.
        if isinstance(cause.cause, ApplicationError):
            cause = cause.cause
        elif cause.type is TimeoutType.HEARTBEAT:
            return Failure(code=ErrorCode.OUTCOME_UNKNOWN, detail="the worker died during the call")
        else:
            return Failure(code=ErrorCode.PROVIDER_TIMEOUT, detail=detail)
    if isinstance(cause, ApplicationError) and cause.type in set(ErrorCode):
        recorded = next(iter(cause.details), None)
        if recorded is not None:
            return Failure.model_validate(recorded)
        return Failure(code=ErrorCode(cause.type), detail=detail)
    return Failure(code=ErrorCode.INTERNAL, detail=detail)


def message_of(error: BaseException) -> str:
    """An error's own text, cut to size; `str` would put its type before it."""
    text = error.message if isinstance(error, exceptions.FailureError) else str(error)
    return text[:MAX_DETAIL_CHARACTERS]
