"""From the plan to the image: on each route submit, and collect when a job is the answer."""

import asyncio
from datetime import datetime, timedelta
from itertools import count

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.errors import ErrorCode
    from contracts.events import GenerationRequested, RequestHead
    from contracts.generation import (
        CollectTask,
        Failure,
        Plan,
        Route,
        StoredImage,
        SubmitTask,
        Submitted,
    )
    from contracts.names import provider_jobs_queue, provider_queue
    from workflows import options
    from workflows.failures import failure_of
    from workflows.signatures import Activities

# A canceled call is waited for: when it made an image all the same, the image counts.
_WAIT = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED

_NEW_JOBS = {
    ErrorCode.PROVIDER_UNAVAILABLE: 2,
    ErrorCode.INVALID_OUTPUT: 2,
    ErrorCode.JOB_LOST: 1,
    ErrorCode.RESULT_EXPIRED: 1,
}
"""How often a job that ended so is submitted again.

The first two are the spec's 2 retries, for a job that the service calls failed or whose image is
none; the others are the taxonomy's "submit once more".
"""


async def make_plan(head: RequestHead) -> Plan:
    """Routes, Odoo and deadline, as the settings say now."""
    return await workflow.execute_local_activity_method(
        Activities.plan, head, start_to_close_timeout=options.PLAN_TIMEOUT
    )


async def make_image(
    request: GenerationRequested, route: Route, deadline: datetime
) -> StoredImage | Failure:
    """The image, or why this route has none. Raises what a cancellation raises."""
    for number in count():
        made = await _one_job(SubmitTask(request=request, route=route, number=number), deadline)
        if isinstance(made, StoredImage):
            return made
        failure, job_failed = made
        if not job_failed or number >= _NEW_JOBS.get(failure.code, 0):
            return failure
        if workflow.now() + options.NEW_JOB_PAUSE >= deadline:
            return failure
        await workflow.sleep(options.NEW_JOB_PAUSE, summary=f"new job after {failure.code}")
    raise AssertionError("the loop above ends by returning")


async def _one_job(task: SubmitTask, deadline: datetime) -> StoredImage | tuple[Failure, bool]:
    """One submission and what comes of it: the image, or the failure and whether a job failed."""
    _stop_if_canceled()  # nothing is paid for a request that was taken back before
    job = None
    try:
        submitted = await _submit(task, deadline)
        if submitted.image:
            return submitted.image
        job = submitted.job
        if job is None:
            return Failure(code=ErrorCode.INTERNAL, detail="neither an image nor a job"), False
        _stop_if_canceled()
        return await _collect(
            CollectTask(request=task.request, route=task.route, job=job), deadline
        )
    except (ActivityError, asyncio.CancelledError) as error:
        canceled = exceptions.is_cancelled_exception(error)
        # Without a reason the worker drops this workflow from its cache; that is not ours.
        if canceled and workflow.cancellation_reason() is None:
            raise
        if job and job.stoppable:
            await _stop(CollectTask(request=task.request, route=task.route, job=job))
        if canceled or not isinstance(error, ActivityError):
            raise
        return failure_of(error), job is not None


async def _submit(task: SubmitTask, deadline: datetime) -> Submitted:
    route = task.route
    return await workflow.execute_activity_method(
        Activities.submit,
        task,
        task_queue=provider_queue(route.provider),
        start_to_close_timeout=timedelta(seconds=route.timeout_seconds) + options.STORE_ALLOWANCE,
        schedule_to_close_timeout=_time_left(deadline),
        heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
        retry_policy=options.PROVIDER_RETRY,
        cancellation_type=_WAIT,
        summary=f"{route.provider}: {route.model}, {task.request.resolution}",
    )


async def _collect(task: CollectTask, deadline: datetime) -> StoredImage:
    while True:
        collected = await workflow.execute_activity_method(
            Activities.collect,
            task,
            task_queue=provider_jobs_queue(task.route.provider),
            schedule_to_close_timeout=_time_left(deadline),
            heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
            retry_policy=options.COLLECT_RETRY,
            cancellation_type=_WAIT,
            summary=f"{task.route.provider}: job {task.job.id[:60]}",
        )
        if collected.image:
            return collected.image
        # The worker is leaving and hands the job back; another one goes on.


async def _stop(task: CollectTask) -> None:
    """Stop a job that is no longer needed; its own deadline ends it if that fails."""
    try:
        await workflow.execute_activity_method(
            Activities.stop,
            task,
            task_queue=provider_jobs_queue(task.route.provider),
            start_to_close_timeout=options.STOP_TIMEOUT,
            schedule_to_close_timeout=options.STOP_ALLOWANCE,
            retry_policy=options.STOP_RETRY,
            summary=f"{task.route.provider}: stop {task.job.id[:60]}",
        )
    except ActivityError as error:
        workflow.logger.warning("%s was not stopped: %s", task.job.id, failure_of(error).detail)


def _stop_if_canceled() -> None:
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError


def _time_left(deadline: datetime) -> timedelta:
    # Zero would mean "no limit" to the server.
    return max(deadline - workflow.now(), timedelta(seconds=1))
