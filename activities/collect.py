"""The wait for a job, and stopping one. Polling is free; the bytes go as those of `submit` do."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from temporalio import activity
from temporalio.service import RPCError

from activities.errors import ProviderError
from activities.heartbeat import Heart, beating
from activities.keeping import ImageKeeper
from activities.memory import ImageMemory
from activities.provider_health import ProviderReports
from activities.providers.service import JobProgress, JobService
from activities.time_left import TimeLeft
from contracts.errors import ErrorCode
from contracts.generation import Spooled, StoredImage
from contracts.names import COLLECT_ACTIVITY, STOP_JOB_ACTIVITY
from contracts.tasks import Collected, CollectTask, Stopped

T = TypeVar("T")

REFUSED_POLLS = 3
"""So many in a row count against the provider: an edge or a firewall may refuse one alone, with
credits already taken. Comfy-Org/ComfyUI#11759"""

LONGEST_PAUSE_SECONDS = 30.0
"""Between two polls, whatever `Retry-After` says: the job is paid for, and time runs."""

_JOB_IS_OVER = frozenset(
    {ErrorCode.INVALID_OUTPUT, ErrorCode.MODEL_CONFIG, ErrorCode.RESULT_EXPIRED}
)
"""What its image can be, and stays however often it is asked for."""


class JobMark(BaseModel):
    """What `collect` shows while it waits: the job's id, the progress that the service reports."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    percent: int | None = None
    refused: int = 0
    """Polls in a row that were refused."""


class CollectActivities:
    """Waiting for jobs of one image service; polling is free, so it has a queue without limit."""

    def __init__(
        self,
        service: JobService,
        images: ImageKeeper,
        memory: ImageMemory,
        reports: ProviderReports,
    ) -> None:
        self._service = service
        self._images = images
        self._memory = memory
        self._reports = reports

    @activity.defn(name=COLLECT_ACTIVITY)
    async def collect(self, task: CollectTask) -> Collected:
        """Poll the job until it is ready, and bring its image into safety.

        Returns without an image when this worker is leaving: the job goes to another one. Raises
        ApplicationError whose type is an ErrorCode.
        """
        left = TimeLeft(task.seconds)
        async with beating(_mark_left_behind(task.job.id)) as heart:
            try:
                return await self._collect(task, heart, left)
            except ProviderError as error:
                await self._settle(error, task, heart, left)
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

    async def _collect(self, task: CollectTask, heart: Heart, left: TimeLeft) -> Collected:
        image = await self._found(task)
        while not image:
            progress = await _unless_leaving(self._polled(task))
            if progress is None:
                return Collected()
            if progress.result_url:
                image = await self._fetched(task, progress.result_url)
                self._reports.succeeded(task.route.provider)
                break
            heart.beat(JobMark(job_id=task.job.id, percent=progress.percent))
            if left.seconds <= 0:
                raise ProviderError(
                    ErrorCode.PROVIDER_TIMEOUT,
                    f"job {task.job.id[:60]} was not ready when its route's time was over",
                    final=True,
                )
            if await _leaving_within(min(self._service.poll_seconds, left.seconds)):
                return Collected()
        await self._service.tidy(task)
        if isinstance(image, Spooled):
            return Collected(spooled=image)
        return Collected(image=image)

    async def _found(self, task: CollectTask) -> StoredImage | Spooled | None:
        """What an attempt before has kept. A store that is away must not keep a job waiting."""
        try:
            return await self._images.find(task, seconds=0)
        except ProviderError as error:
            if error.failure.code is not ErrorCode.STORE_UNAVAILABLE:
                raise
            return None

    async def _polled(self, task: CollectTask) -> JobProgress:
        try:
            return await self._service.poll(task)
        except ProviderError as error:
            if not error.final and error.failure.code is not ErrorCode.JOB_LOST:
                error.keep_asking = True
            raise

    async def _fetched(self, task: CollectTask, result_url: str) -> StoredImage | Spooled:
        """The finished job's image. Asking again cannot help a job whose image is wrong."""
        try:
            async with self._memory.lease() as admit:
                try:
                    data = await self._service.fetch(task, result_url, admit)
                except ProviderError as error:
                    if error.failure.code is not ErrorCode.RESULT_EXPIRED:
                        raise
                    again = await self._polled(task)  # for a fresh link, once
                    data = await self._service.fetch(task, again.result_url or result_url, admit)
                return await self._images.keep(task, data)
        except ProviderError as error:
            over = error.failure.code in _JOB_IS_OVER and not error.keep_asking
            error.final = error.final or over
            raise

    async def _settle(
        self, error: ProviderError, task: CollectTask, heart: Heart, left: TimeLeft
    ) -> None:
        """Record what the failure has cost, and report it; one refused poll is no matter."""
        # The job was accepted, so it is paid for unless the service says that it failed.
        paid = not task.job.free and error.perhaps_paid is not False
        error.settle(paid=paid, final=left.seconds <= 0)
        mark = JobMark.model_validate(heart.details)
        mark = mark.model_copy(update={"refused": mark.refused + 1})
        if error.ends or mark.refused >= REFUSED_POLLS:
            ended = paid and error.ends  # one job counts once
            self._reports.failed(task.route.provider, error.failure, perhaps_paid=ended)
        if not error.ends:
            if error.retry_after is not None:  # a longer one would end the tries at once
                error.retry_after = min(error.retry_after, LONGEST_PAUSE_SECONDS, left.seconds)
            with suppress(RPCError):  # then the next attempt counts from the mark before
                await heart.record(mark)


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


def _mark_left_behind(job_id: str) -> JobMark:
    """The mark of the attempt before, which counts refused polls; a new one for the first."""
    details = activity.info().heartbeat_details
    return JobMark.model_validate(details[0]) if details else JobMark(job_id=job_id)
