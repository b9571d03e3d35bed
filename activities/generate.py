"""Making the image: the paid call, and the wait for a job. The bytes go straight to the store."""

import asyncio
import logging
import math
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from temporalio import activity
from temporalio.service import RPCError

from activities.errors import ProviderError
from activities.heartbeat import Heart, beating
from activities.memory import ImageMemory
from activities.provider_health import ProviderReports
from activities.providers.service import ImageService, JobProgress, JobService
from activities.storage import ImageStore
from contracts.errors import ErrorCode
from contracts.generation import (
    Collected,
    CollectTask,
    Job,
    Stopped,
    StoredImage,
    SubmitMark,
    SubmitTask,
    Submitted,
)
from contracts.names import COLLECT_ACTIVITY, STOP_JOB_ACTIVITY, SUBMIT_ACTIVITY

logger = logging.getLogger(__name__)

T = TypeVar("T")


REFUSED_POLLS = 3
"""So many in a row count against the provider: an edge or a firewall may refuse one alone, with
credits already taken. Comfy-Org/ComfyUI#11759"""


class JobMark(BaseModel):
    """What `collect` shows while it waits: the job's id, the progress that the service reports."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    percent: int | None = None


class SubmitActivities:
    """The paid call of one image service; runs on that provider's queue."""

    def __init__(
        self,
        service: ImageService,
        store: ImageStore,
        memory: ImageMemory,
        reports: ProviderReports,
    ) -> None:
        self._service = service
        self._store = store
        self._memory = memory
        self._reports = reports
        self._unreported: dict[tuple[str | None, str], Job] = {}

    @activity.defn(name=SUBMIT_ACTIVITY)
    async def submit(self, task: SubmitTask) -> Submitted:
        """Make the one paid call, unless the image is in the store already.

        Raises ApplicationError whose type is an ErrorCode. An attempt whose predecessor died
        between sending and receiving counts that submission as perhaps paid.
        """
        info, left = activity.info(), TimeLeft(task.seconds)
        mark = _mark_left_behind(info.attempt, info.heartbeat_details)
        if mark.job:
            return Submitted(job=mark.job, perhaps_paid=mark.perhaps_paid)
        if job := self._unreported.pop(_this_activity(), None):
            return Submitted(job=job, perhaps_paid=mark.perhaps_paid - 1)  # that one was no loss
        # A submission that can be repeated is never open: whoever makes it again finds it.
        again = self._service.repeatable
        mark = SubmitMark(settled=again, perhaps_paid=0 if again else mark.perhaps_paid)
        async with beating(mark) as heart:
            if info.attempt > 1:  # or this attempt's death would not be counted
                await heart.record(mark)
            try:
                return await self._submit(task, mark, heart, left)
            except ProviderError as error:
                paid = bool(error.perhaps_paid) and not self._service.repeatable
                self._reports.failed(task.route.provider, error.failure, perhaps_paid=paid)
                in_all = mark.perhaps_paid + paid
                error.settle(in_all, final=_ends_the_route(task, error, in_all, left))
                if not paid:
                    with suppress(RPCError):  # then the next attempt counts it as perhaps paid
                        await heart.record(SubmitMark(settled=True, perhaps_paid=in_all))
                raise error.to_application_error() from None

    async def _submit(
        self, task: SubmitTask, mark: SubmitMark, heart: Heart, left: "TimeLeft"
    ) -> Submitted:
        request, route = task.request, task.route
        image = await self._store.find(request.request_id, route.image_format)
        if image:
            logger.info("the image is in the store already; nothing is paid")
            return Submitted(image=image)
        if mark.perhaps_paid >= task.most_perhaps_paid:
            raise ProviderError(
                ErrorCode.OUTCOME_UNKNOWN,
                f"the replies to {mark.perhaps_paid} submissions were lost, and {route.provider}"
                " may have charged for them: look there before you rerun",
                final=True,
            )
        if left.seconds < task.least_seconds:
            raise ProviderError(
                ErrorCode.QUEUE_TIMEOUT,
                f"the call waited so long for its turn that {left.seconds:.0f} s are left of"
                f" {task.seconds:.0f}",
                final=True,
            )
        made = await self._image_or_job(left.bounded(task))
        if isinstance(made, StoredImage):
            self._reports.succeeded(route.provider)
            return Submitted(image=made, perhaps_paid=mark.perhaps_paid)
        submitted = Submitted(job=made, perhaps_paid=mark.perhaps_paid)
        try:
            await heart.record(mark.model_copy(update={"job": made}))
        except RPCError:
            # Temporal is away just now, and a job that it never records would be paid for again. A
            # later attempt finds the job here, if it comes to this process.
            self._unreported[_this_activity()] = made
            logger.warning("Temporal is away; job %s is remembered here", made.id)
        except asyncio.CancelledError:
            if not _is_taken_back():
                raise
            # The workflow learns of the job all the same, and stops it where that is possible.
        return submitted

    async def _image_or_job(self, task: SubmitTask) -> StoredImage | Job:
        """The paid call, and its image in the store. From here on it may be paid for."""
        made: Job | bytes | None = None
        try:
            async with self._memory.lease() as admit:
                made = await self._service.submit(task, admit)
                return await _keep(self._store, task, made) if isinstance(made, bytes) else made
        except ProviderError as error:
            error.perhaps_paid = error.perhaps_paid or made is not None
            raise
        except asyncio.CancelledError:
            # A worker that leaves hands over to an attempt that finds no settled mark.
            if not _is_taken_back():
                raise
            raise ProviderError(
                ErrorCode.CANCELED, "canceled during the call", perhaps_paid=True, final=True
            ) from None
        except Exception as error:
            # Ours, and not known to pass: it is recorded with what it may have cost.
            logger.exception("the submission failed unexpectedly")
            detail = f"unexpected {type(error).__name__}: {error}"
            raise ProviderError(ErrorCode.INTERNAL, detail, perhaps_paid=True, final=True) from None


class CollectActivities:
    """Waiting for jobs of one image service; polling is free, so it has a queue without limit."""

    def __init__(
        self,
        service: JobService,
        store: ImageStore,
        memory: ImageMemory,
        reports: ProviderReports,
    ) -> None:
        self._service = service
        self._store = store
        self._memory = memory
        self._reports = reports

    @activity.defn(name=COLLECT_ACTIVITY)
    async def collect(self, task: CollectTask) -> Collected:
        """Poll the job until it is ready, and store its image.

        Returns without an image when this worker is leaving: the job goes to another one. Raises
        ApplicationError whose type is an ErrorCode.
        """
        left = TimeLeft(task.seconds)
        async with beating(JobMark(job_id=task.job.id)) as heart:
            try:
                return await self._collect(task, heart, left)
            except ProviderError as error:
                # The job was accepted, so it is paid for unless the service says that it failed.
                paid = error.perhaps_paid is not False
                error.settle(int(paid), final=left.seconds <= 0)
                if not error.keep_asking or error.final or activity.info().attempt >= REFUSED_POLLS:
                    self._reports.failed(task.route.provider, error.failure, perhaps_paid=paid)
                raise error.to_application_error() from None

    @activity.defn(name=STOP_JOB_ACTIVITY)
    async def stop(self, task: CollectTask) -> Stopped:
        """Stop a job that is no longer needed; some services cannot, and answer so.

        Raises ApplicationError whose type is an ErrorCode.
        """
        try:
            return Stopped(answer=await self._service.stop(task))
        except ProviderError as error:
            raise error.to_application_error() from None

    async def _collect(self, task: CollectTask, heart: Heart, left: "TimeLeft") -> Collected:
        image = await self._store.find(task.request.request_id, task.route.image_format)
        while not image:
            progress = await _unless_leaving(self._polled(task))
            if progress is None:
                return Collected()
            heart.beat(JobMark(job_id=task.job.id, percent=progress.percent))
            if progress.result_url:
                image = await self._fetched(task, progress.result_url)
                self._reports.succeeded(task.route.provider)
            elif left.seconds <= 0:
                raise ProviderError(
                    ErrorCode.PROVIDER_TIMEOUT,
                    f"job {task.job.id[:60]} was not ready when its route's time was over",
                    final=True,
                )
            elif await _leaving_within(min(self._service.poll_seconds, left.seconds)):
                return Collected()
        await self._service.tidy(task)
        return Collected(image=image)

    async def _polled(self, task: CollectTask) -> JobProgress:
        try:
            return await self._service.poll(task)
        except ProviderError as error:
            if not error.final and error.failure.code is not ErrorCode.JOB_LOST:
                error.keep_asking = True
            raise

    async def _fetched(self, task: CollectTask, result_url: str) -> StoredImage:
        """The finished job's image. Asking again cannot help a job whose image is wrong."""
        try:
            async with self._memory.lease() as admit:
                try:
                    data = await self._service.fetch(task, result_url, admit)
                except ProviderError as error:
                    if error.failure.code is not ErrorCode.RESULT_EXPIRED:
                        raise
                    again = await self._service.poll(task)  # for a fresh link, once
                    data = await self._service.fetch(task, again.result_url or result_url, admit)
                return await _keep(self._store, task, data)
        except ProviderError as error:
            over = {ErrorCode.INVALID_OUTPUT, ErrorCode.MODEL_CONFIG, ErrorCode.RESULT_EXPIRED}
            job_is_over = error.failure.code in over
            error.final = error.final or job_is_over
            raise


class TimeLeft:
    """What is left of the `seconds` that an activity has, from when it was scheduled."""

    def __init__(self, seconds: float | None) -> None:
        info = activity.info()
        # Both times are the server's: a worker's clock may be off.
        waited = (info.started_time - info.scheduled_time).total_seconds()
        now = asyncio.get_running_loop().time()
        self._end = math.inf if seconds is None else now + seconds - waited

    @property
    def seconds(self) -> float:
        """As of now; below 0 when the time is over."""
        return self._end - asyncio.get_running_loop().time()

    def bounded(self, task: SubmitTask) -> SubmitTask:
        """The task with a call that takes no longer than that."""
        if task.route.timeout_seconds <= self.seconds:
            return task
        # A call is always begun with some time: zero would be refused as a setting.
        route = task.route.model_copy(update={"timeout_seconds": max(self.seconds, 0.1)})
        return task.model_copy(update={"route": route})


def _ends_the_route(task: SubmitTask, error: ProviderError, paid: int, left: TimeLeft) -> bool:
    """Whether this route is not tried again, although the taxonomy would."""
    if error.perhaps_paid and (task.another_route or paid >= task.most_perhaps_paid):
        return True
    policy = activity.info().retry_policy
    pause = policy.initial_interval.total_seconds() if policy else 0.0
    pause = pause if error.retry_after is None else error.retry_after
    return left.seconds - pause < task.least_seconds


def _is_taken_back() -> bool:
    """The generation was canceled; not only this worker is leaving, or was late."""
    details = activity.cancellation_details()
    return bool(details and details.cancel_requested)


def _this_activity() -> tuple[str | None, str]:
    """The same for all attempts of one activity, another one for a new submission."""
    info = activity.info()
    return info.workflow_run_id, info.activity_id


async def _keep(store: ImageStore, task: SubmitTask | CollectTask, data: bytes) -> StoredImage:
    request = task.request
    route = task.route
    return await store.keep(
        request.request_id, data, route.image_format, request.size, route.size_tolerance_percent
    )


async def _unless_leaving(poll: Coroutine[Any, Any, T]) -> T | None:
    """What the poll says; None, with the poll broken off, once the worker shuts down."""

    async def watch(limit: asyncio.Timeout) -> None:
        await activity.wait_for_worker_shutdown()
        limit.reschedule(asyncio.get_running_loop().time())

    try:
        async with asyncio.timeout(None) as limit:
            watching = asyncio.create_task(watch(limit))
            try:
                return await poll
            finally:
                watching.cancel()
    except TimeoutError:
        if limit.expired():
            return None
        raise


async def _leaving_within(seconds: float) -> bool:
    """Pause; True as soon as the worker shuts down."""
    try:
        async with asyncio.timeout(seconds):
            await activity.wait_for_worker_shutdown()
    except TimeoutError:
        return False
    return True


def _mark_left_behind(attempt: int, details: Sequence[Any]) -> SubmitMark:
    if attempt == 1:
        return SubmitMark(settled=True)
    # No details at all: the attempt before this one died before its first heartbeat was sent.
    mark = SubmitMark.model_validate(details[0]) if details else SubmitMark()
    return mark.model_copy(update={"perhaps_paid": mark.perhaps_paid_when_dead})
