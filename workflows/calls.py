"""The calls to an image service, as activities; and what is known when one has no result."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.errors import ErrorCode
    from contracts.generation import Failure, Spooled, StoredImage
    from contracts.names import provider_jobs_queue, provider_queue
    from contracts.plain import code_span
    from contracts.tasks import CollectTask, CutOff, SubmitTask, Submitted
    from workflows import options
    from workflows.failures import failure_of, has_recorded, lost_submission
    from workflows.shielding import shielded
    from workflows.signatures import Activities

# A canceled call is waited for: when it made an image all the same, the image counts.
_WAIT = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


async def submit(task: SubmitTask) -> Submitted | Failure:
    """One submission: the image, the job that will make it, or why there is neither."""
    route, queue = task.route, provider_queue(task.route.provider)
    seconds = task.seconds or 0
    try:
        submitted: Submitted = await workflow.execute_activity_method(
            Activities.submit,
            task,
            task_queue=queue,
            schedule_to_start_timeout=timedelta(seconds=seconds - task.least_seconds),
            start_to_close_timeout=timedelta(seconds=route.timeout_seconds)
            + options.STORE_ALLOWANCE,
            # The activity itself keeps to its time; what it has paid for may still be stored.
            schedule_to_close_timeout=timedelta(seconds=seconds) + options.STORE_ALLOWANCE,
            heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
            retry_policy=options.PROVIDER_RETRY,
            cancellation_type=_WAIT,
            summary=f"{route.provider}: {route.model}, {task.request.resolution}",
        )
    except (ActivityError, asyncio.CancelledError) as error:
        if is_cancellation(error):
            return taken_back(0)  # before it was sent, or between two tries that cost nothing
        if not isinstance(error, ActivityError):
            raise
        found = failure_of(error) if has_recorded(error) else lost_submission(error)
        if isinstance(found, Failure):
            return await _reported(error, task, queue, found)
        return Submitted(job=found)  # a job that was accepted is never thrown away
    if submitted.image or submitted.spooled or submitted.job:
        return submitted
    detail = "neither an image nor a job"
    return Failure(code=ErrorCode.INTERNAL, detail=detail, perhaps_paid=1)


async def collect(
    task: CollectTask, seconds_left: Callable[[], float]
) -> StoredImage | Spooled | Failure:
    """Wait for a job: its image, or why there is none; `seconds_left` is asked for each worker."""
    route, queue = task.route, provider_jobs_queue(task.route.provider)
    paid = int(not task.job.free)
    while True:
        if workflow.cancellation_reason() is not None:
            return taken_back(paid)
        seconds = timedelta(seconds=max(seconds_left(), 1))
        try:
            collected = await workflow.execute_activity_method(
                Activities.collect,
                task.model_copy(update={"seconds": seconds.total_seconds()}),
                task_queue=queue,
                schedule_to_start_timeout=seconds,
                # The activity itself keeps to its time; an image that is ready is still fetched.
                schedule_to_close_timeout=seconds
                + min(timedelta(seconds=route.timeout_seconds), options.FETCH_ALLOWANCE)
                + options.STORE_ALLOWANCE,
                heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
                retry_policy=options.COLLECT_RETRY,
                cancellation_type=_WAIT,
                summary=f"{route.provider}: job {code_span(task.job.id[:60])}",
            )
        except (ActivityError, asyncio.CancelledError) as error:
            if is_cancellation(error):
                return taken_back(paid)
            if not isinstance(error, ActivityError):
                raise
            failure = failure_of(error)
            if not has_recorded(error):  # the job was accepted
                failure = failure.model_copy(update={"perhaps_paid": paid})
            return await _reported(error, task, queue, failure)
        if image := collected.image or collected.spooled:
            return image
        # The worker is leaving and hands the job back; another one goes on.


async def stop(task: CollectTask) -> None:
    """Stop a job that is no longer needed; its own deadline ends it if that fails."""
    try:
        await workflow.execute_activity_method(
            Activities.stop,
            task,
            task_queue=provider_jobs_queue(task.route.provider),
            start_to_close_timeout=options.STOP_TIMEOUT,
            schedule_to_close_timeout=options.STOP_ALLOWANCE,
            retry_policy=options.STOP_RETRY,
            summary=f"{task.route.provider}: stop {code_span(task.job.id[:60])}",
        )
    except ActivityError as error:
        workflow.logger.warning("%s was not stopped: %s", task.job.id, failure_of(error).detail)


async def _reported(
    error: ActivityError, task: SubmitTask | CollectTask, queue: str, failure: Failure
) -> Failure:
    """Report what the server has ended, and no worker could: provider health counts it too.

    The answer says more of a call that nobody took: whether anybody serves its queue.
    """
    if failure.worker_lost or not isinstance(error.cause, exceptions.TimeoutError):
        return failure
    cut_off = CutOff(
        request_id=task.request.request_id,
        correlation_id=task.request.correlation_id,
        provider=task.route.provider,
        queue=queue,
        failure=failure,
    )
    try:
        return await shielded(
            workflow.execute_local_activity_method(
                Activities.report_cut_off,
                cut_off,
                start_to_close_timeout=options.REPORT_TIMEOUT,
                retry_policy=options.REPORT_RETRY,
            )
        )
    except ActivityError as unreported:
        workflow.logger.warning("not reported: %s", failure_of(unreported).detail)
        return failure


def is_cancellation(error: BaseException) -> bool:
    """Whether the user took the request back; raises what is not ours to handle."""
    if not exceptions.is_cancelled_exception(error):
        return False
    # Without a reason the worker drops this workflow from its cache; that is not ours.
    if workflow.cancellation_reason() is None:
        raise error
    return True


def taken_back(perhaps_paid: int) -> Failure:
    """What a cancellation leaves in the place of an image."""
    detail = "canceled while generating"
    return Failure(code=ErrorCode.CANCELED, detail=detail, perhaps_paid=perhaps_paid)
