"""From the plan to the outcome: on each route submit, and collect when a job is the answer.

Two things are shared by the routes: the time until the deadline, and how many submissions may be
paid for without an image to show for it.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import NamedTuple

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.errors import ErrorCode
    from contracts.events import GenerationRequested
    from contracts.generation import (
        MAX_DETAIL_CHARACTERS,
        Attempted,
        CollectTask,
        CutOff,
        Failure,
        FlowRules,
        Job,
        Outcome,
        Plan,
        PlanTask,
        Route,
        StoredImage,
        SubmitTask,
        Submitted,
    )
    from contracts.names import provider_jobs_queue, provider_queue
    from workflows import options
    from workflows.failures import failure_of, has_recorded, mark_left_by
    from workflows.shielding import shielded
    from workflows.signatures import Activities

# A canceled call is waited for: when it made an image all the same, the image counts.
_WAIT = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


async def make_plan(task: PlanTask) -> Plan:
    """Routes, Odoo and deadline, as the settings say now."""
    return await workflow.execute_local_activity_method(
        Activities.plan, task, start_to_close_timeout=options.PLAN_TIMEOUT
    )


async def make_image(
    request: GenerationRequested, plan: Plan, entered: Callable[[Route], None]
) -> Outcome:
    """The image, or why no route has one; `entered` is called as each route begins."""
    deadline = workflow.now() + timedelta(seconds=plan.deadline_seconds)
    tried: list[Attempted] = []
    perhaps_paid = 0
    for number, route in enumerate(plan.routes):
        if tried and workflow.now() >= deadline:
            break
        entered(route)
        limits = _Limits(
            _share_of(route, deadline, len(plan.routes) - number),
            plan.rules.most_perhaps_paid - perhaps_paid,
            another_route=number + 1 < len(plan.routes),
        )
        made = await _on_route(request, route, limits, plan.rules)
        if isinstance(made, StoredImage):
            return Outcome(image=made, tried=tuple(tried), ignored=route.ignores)
        perhaps_paid += made.perhaps_paid
        if workflow.cancellation_reason() is not None:
            return _canceled(made, perhaps_paid, tried)
        tried.append(Attempted(route=route, failure=made))
        bound = perhaps_paid >= plan.rules.most_perhaps_paid
        if bound or made.code not in plan.rules.next_route:
            break
    failure = tried[-1].failure.model_copy(update={"perhaps_paid": perhaps_paid})
    return Outcome(failure=failure, tried=tuple(tried))


class _Limits(NamedTuple):
    """What one route may use up."""

    end: datetime
    most_perhaps_paid: int
    another_route: bool

    @property
    def seconds(self) -> float:
        """What is left of its time."""
        return (self.end - workflow.now()).total_seconds()


class _Job(NamedTuple):
    """A job that is to be collected, and what may have been paid for before it."""

    job: Job
    perhaps_paid: int


class _Lost(NamedTuple):
    """A submission whose failure no worker has recorded: nobody took it, or its worker was lost."""

    failure: Failure
    by_worker: bool


async def _on_route(
    request: GenerationRequested, route: Route, limits: _Limits, rules: FlowRules
) -> StoredImage | Failure:
    """The image, or why this route has none; `perhaps_paid` is of this route alone."""
    perhaps_paid = 0
    for number in count():
        task = SubmitTask(
            request=request,
            route=route,
            number=number,
            seconds=max(limits.seconds, 1),
            # A quarter of a short time, so that the spec's retries have room before it.
            least_seconds=min(route.timeout_seconds, limits.seconds / 4),
            most_perhaps_paid=limits.most_perhaps_paid - perhaps_paid,
            another_route=limits.another_route,
        )
        made, again = await _one_job(task, limits, rules)
        if isinstance(made, StoredImage):
            return made
        perhaps_paid += made.perhaps_paid
        failure = made.model_copy(update={"perhaps_paid": perhaps_paid})
        if number >= again:
            return failure
        if perhaps_paid and (limits.another_route or perhaps_paid >= limits.most_perhaps_paid):
            return failure
        pause = rules.new_job_pause_seconds
        if limits.seconds <= pause:
            return failure
        try:
            await workflow.sleep(pause, summary=f"again after {failure.code}")
        except asyncio.CancelledError as error:
            if _is_cancellation(error):
                return _taken_back(perhaps_paid)
    raise AssertionError("the loop above ends by returning")


async def _one_job(
    task: SubmitTask, limits: _Limits, rules: FlowRules
) -> tuple[StoredImage | Failure, int]:
    """One submission and what comes of it: the image or the failure.

    With a failure comes how often a submission that ends so is made again. What a cancellation
    raises is a failure, too, with what it may have cost.
    """
    if workflow.cancellation_reason() is not None:
        return _taken_back(0), 0  # nothing is paid for a request that was taken back before
    submitted = await _submit(task)
    if isinstance(submitted, _Lost):
        return submitted.failure, rules.lost_workers if submitted.by_worker else 0
    if not isinstance(submitted, _Job):
        return submitted, 0
    collecting = CollectTask(
        request=task.request,
        route=task.route,
        job=submitted.job,
        seconds=max(limits.seconds, 1),
    )
    made = await _collect(collecting, limits)
    if isinstance(made, StoredImage):
        return made, 0
    if submitted.job.stoppable:
        await shielded(_stop(collecting))
    in_all = made.perhaps_paid + submitted.perhaps_paid
    again = rules.new_jobs.get(made.code, 0)
    return made.model_copy(update={"perhaps_paid": in_all}), again


async def _submit(task: SubmitTask) -> StoredImage | Failure | _Job | _Lost:
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
        return await _not_submitted(error, task, queue)
    if submitted.image:
        return submitted.image
    if submitted.job is None:
        return Failure(code=ErrorCode.INTERNAL, detail="neither an image nor a job", perhaps_paid=1)
    return _Job(submitted.job, submitted.perhaps_paid)


async def _not_submitted(
    error: ActivityError | asyncio.CancelledError, task: SubmitTask, queue: str
) -> Failure | _Job | _Lost:
    if _is_cancellation(error):
        return _taken_back(0)
    if not isinstance(error, ActivityError):
        raise error
    failure = failure_of(error)
    if has_recorded(error):
        return failure
    mark = mark_left_by(error)
    if mark.job:  # a job that was accepted is never thrown away
        return _Job(mark.job, mark.perhaps_paid)
    lost = failure.model_copy(update={"perhaps_paid": mark.perhaps_paid_when_dead})
    by_worker = failure.code is not ErrorCode.QUEUE_TIMEOUT
    return _Lost(await _reported(error, task, queue, lost), by_worker)


async def _collect(task: CollectTask, limits: _Limits) -> StoredImage | Failure:
    route, queue = task.route, provider_jobs_queue(task.route.provider)
    while True:
        if workflow.cancellation_reason() is not None:
            return _taken_back(1)
        seconds = timedelta(seconds=max(limits.seconds, 1))
        try:
            collected = await workflow.execute_activity_method(
                Activities.collect,
                task.model_copy(update={"seconds": seconds.total_seconds()}),
                task_queue=queue,
                schedule_to_start_timeout=seconds,
                # The activity itself keeps to its time; an image that is ready is still fetched.
                schedule_to_close_timeout=seconds
                + timedelta(seconds=route.timeout_seconds)
                + options.STORE_ALLOWANCE,
                heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
                retry_policy=options.COLLECT_RETRY,
                cancellation_type=_WAIT,
                summary=f"{route.provider}: job {task.job.id[:60]}",
            )
        except (ActivityError, asyncio.CancelledError) as error:
            if _is_cancellation(error):
                return _taken_back(1)
            if not isinstance(error, ActivityError):
                raise
            failure = failure_of(error)
            if has_recorded(error):
                return failure
            paid = failure.model_copy(update={"perhaps_paid": 1})  # the job was accepted
            return await _reported(error, task, queue, paid)
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


async def _reported(
    error: ActivityError, task: SubmitTask | CollectTask, queue: str, failure: Failure
) -> Failure:
    """Report what the server has ended, and no worker could: provider health counts it too.

    The answer says more of a call that nobody took: whether anybody serves its queue.
    """
    if not isinstance(error.cause, exceptions.TimeoutError):
        return failure  # a worker that leaves says so itself
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


def _share_of(route: Route, deadline: datetime, routes_left: int) -> datetime:
    """When this route's time is over: its own setting, or an equal share of what is left."""
    left = deadline - workflow.now()
    if route.share_seconds is None:
        return workflow.now() + left / routes_left
    return workflow.now() + min(timedelta(seconds=route.share_seconds), left)


def _is_cancellation(error: BaseException) -> bool:
    """Whether the user took the request back; raises what is not ours to handle."""
    if not exceptions.is_cancelled_exception(error):
        return False
    # Without a reason the worker drops this workflow from its cache; that is not ours.
    if workflow.cancellation_reason() is None:
        raise error
    return True


def _taken_back(perhaps_paid: int) -> Failure:
    detail = "canceled while generating"
    return Failure(code=ErrorCode.CANCELED, detail=detail, perhaps_paid=perhaps_paid)


def _canceled(made: Failure, perhaps_paid: int, tried: list[Attempted]) -> Outcome:
    detail = made.detail
    if made.code is not ErrorCode.CANCELED:
        detail = f"canceled, and failed meanwhile: {detail}"[:MAX_DETAIL_CHARACTERS]
    failure = Failure(code=ErrorCode.CANCELED, detail=detail, perhaps_paid=perhaps_paid)
    return Outcome(failure=failure, tried=tuple(tried))
