"""Making the image: the paid call, and the wait for a job. The bytes go straight to the store."""

import asyncio
import logging
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
from activities.providers.service import ImageService, JobService
from activities.storage import ImageStore
from contracts.errors import ErrorCode
from contracts.generation import (
    Collected,
    CollectTask,
    Job,
    Stopped,
    StoredImage,
    SubmitTask,
    Submitted,
)
from contracts.names import COLLECT_ACTIVITY, STOP_JOB_ACTIVITY, SUBMIT_ACTIVITY

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_LOST_SUBMISSIONS = 1
"""After one submission whose reply was lost, one more is made; a second loss ends it."""


class SubmitMark(BaseModel):
    """What an attempt of `submit` leaves for the next one in its heartbeat.

    `settled` says that no submission is open: none was sent, or its answer is known. An attempt
    that finds no settled mark of its predecessor knows that a submission may have been paid for.
    """

    model_config = ConfigDict(frozen=True)

    settled: bool = False
    lost: int = 0
    job: Job | None = None


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
        between sending and receiving counts that submission as lost: at most one more is made.
        """
        mark = _mark_left_behind(activity.info().attempt, activity.info().heartbeat_details)
        job = mark.job or self._unreported.pop(_this_activity(), None)
        if job:
            return Submitted(job=job)
        async with beating(SubmitMark(lost=mark.lost)) as heart:
            if activity.info().attempt > 1:  # or this attempt's death would not be counted
                await heart.record(SubmitMark(lost=mark.lost))
            try:
                return await self._submit(task, mark, heart)
            except ProviderError as error:
                self._reports.failed(task.route.provider, error.failure)
                if error.answered:
                    with suppress(RPCError):  # then the next attempt counts it as lost
                        await heart.record(SubmitMark(settled=True, lost=mark.lost))
                raise error.to_application_error() from None

    async def _submit(self, task: SubmitTask, mark: SubmitMark, heart: Heart) -> Submitted:
        request, route = task.request, task.route
        image = await self._store.find(request.request_id, route.image_format)
        if image:
            logger.info("the image is in the store already; nothing is paid")
            return Submitted(image=image)
        if mark.lost > MAX_LOST_SUBMISSIONS and not self._service.repeatable:
            raise ProviderError(
                ErrorCode.OUTCOME_UNKNOWN,
                f"the replies to {mark.lost} submissions were lost, and {route.provider} may have"
                " charged for them: look there before you rerun",
                final=True,
            )
        async with self._memory.lease() as admit:
            made = await self._service.submit(task, admit)
            if isinstance(made, bytes):
                image = await _keep(self._store, task, made)
                self._reports.succeeded(route.provider)
                return Submitted(image=image)
        try:
            await heart.record(SubmitMark(lost=mark.lost, job=made))
        except RPCError:
            # Temporal is away just now, and a job that it never records would be paid for again. A
            # later attempt finds the job here, if it comes to this process.
            self._unreported[_this_activity()] = made
            logger.warning("Temporal is away; job %s is remembered here", made.id)
        return Submitted(job=made)


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
        async with beating(JobMark(job_id=task.job.id)) as heart:
            try:
                return await self._collect(task, heart)
            except ProviderError as error:
                self._reports.failed(task.route.provider, error.failure)
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

    async def _collect(self, task: CollectTask, heart: Heart) -> Collected:
        image = await self._store.find(task.request.request_id, task.route.image_format)
        while not image:
            progress = await _unless_leaving(self._service.poll(task))
            if progress is None:
                return Collected()
            heart.beat(JobMark(job_id=task.job.id, percent=progress.percent))
            if progress.result_url:
                image = await self._fetched(task, progress.result_url)
                self._reports.succeeded(task.route.provider)
            elif await _leaving_within(self._service.poll_seconds):
                return Collected()
        await self._service.tidy(task)
        return Collected(image=image)

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
            job_is_over = error.failure.code in {ErrorCode.INVALID_OUTPUT, ErrorCode.RESULT_EXPIRED}
            error.final = error.final or job_is_over
            raise


def _this_activity() -> tuple[str | None, str]:
    """The same for all attempts of one activity, another one for a new submission."""
    info = activity.info()
    return info.workflow_run_id, info.activity_id


async def _keep(store: ImageStore, task: SubmitTask | CollectTask, data: bytes) -> StoredImage:
    request = task.request
    return await store.keep(request.request_id, data, task.route.image_format, request.size)


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
    return mark if mark.settled else mark.model_copy(update={"lost": mark.lost + 1})
