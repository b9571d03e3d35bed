"""The paid call. The bytes of its image go straight to the store, or to the disk until then."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from temporalio import activity
from temporalio.service import RPCError

from activities.errors import ProviderError
from activities.heartbeat import Heart, beating
from activities.keeping import ImageKeeper
from activities.memory import ImageMemory
from activities.provider_health import ProviderReports
from activities.providers.service import ImageService
from activities.time_left import TimeLeft
from contracts.errors import ErrorCode
from contracts.generation import Job, Spooled, StoredImage
from contracts.names import SUBMIT_ACTIVITY
from contracts.tasks import SubmitMark, SubmitTask, Submitted

logger = logging.getLogger(__name__)


class SubmitActivities:
    """The paid call of one image service; runs on that provider's queue."""

    def __init__(
        self,
        service: ImageService,
        images: ImageKeeper,
        memory: ImageMemory,
        reports: ProviderReports,
    ) -> None:
        self._service = service
        self._images = images
        self._memory = memory
        self._reports = reports
        self._unreported: dict[tuple[str | None, str, int], Job] = {}
        """Jobs that the server has not learned of, by their submission."""

    @activity.defn(name=SUBMIT_ACTIVITY)
    async def submit(self, task: SubmitTask) -> Submitted:
        """Make the paid call, unless the image is in the store, or on its way there, already.

        Raises ApplicationError whose type is an ErrorCode. All attempts together make at most one
        submission that may be paid for: after it the activity ends, and the workflow decides.
        """
        info, left = activity.info(), TimeLeft(task.seconds)
        mark = _mark_left_behind(info.attempt, info.heartbeat_details)
        if mark.job:
            return Submitted(job=mark.job)
        if job := self._unreported.pop(_submission(task), None):
            return Submitted(job=job, recovered=True)
        # A submission that can be repeated is never open.
        begun = SubmitMark(settled=self._service.repeatable)
        async with beating(begun if info.attempt == 1 else mark) as heart:
            try:
                if image := await self._found(task, mark, left):
                    return _with(image)
                if info.attempt > 1:  # or this attempt's death would not be counted
                    await _record_first(heart, begun)
                return await self._submit(task, heart, left)
            except ProviderError as error:
                # What can be repeated is never paid twice: whoever makes it again finds it.
                paid = bool(error.perhaps_paid) and not self._service.repeatable
                if not error.failure.worker_lost:
                    self._reports.failed(task.route.provider, error.failure, perhaps_paid=paid)
                error.settle(
                    paid=paid,
                    final=paid or _leaves_no_time(task, error, left),
                    repeatable=paid and error.failure.rule.retry and not error.final,
                )
                if not error.final:
                    with suppress(RPCError):  # then the next attempt counts it as perhaps paid
                        await heart.record(SubmitMark(settled=True))
                raise error.to_application_error() from None

    async def _found(
        self, task: SubmitTask, mark: SubmitMark, left: TimeLeft
    ) -> StoredImage | Spooled | None:
        """The image, if there is one already; raises ProviderError when no call may be made."""
        # Where the server tries again what has timed out; ours does not.
        lost_before = mark.open and not self._service.repeatable
        try:
            if image := await self._images.find_before_paying(task):
                logger.info("the image is there already; nothing is paid")
                return image
        except ProviderError as error:
            if lost_before and error.failure.code is ErrorCode.STORE_UNAVAILABLE:
                raise _lost("the attempt before died during the call; the store is away") from None
            # The workflow waits for the store: there that costs no slot, and survives a deploy.
            error.final = True
            raise
        if lost_before:
            raise _lost("the attempt before died during the call")
        if left.seconds < task.least_seconds:
            raise ProviderError(
                ErrorCode.QUEUE_TIMEOUT,
                f"the call waited so long for its turn that {left.seconds:.0f} s are left of"
                f" {task.seconds:.0f}",
                final=True,
            )
        return None

    async def _submit(self, task: SubmitTask, heart: Heart, left: TimeLeft) -> Submitted:
        made = await self._image_or_job(left.bounded(task))
        if isinstance(made, Job):
            await self._record(made, task, heart)
            return Submitted(job=made)
        self._reports.succeeded(task.route.provider)
        return _with(made)

    async def _image_or_job(self, task: SubmitTask) -> StoredImage | Spooled | Job:
        """The paid call, and its image in safety. From here on it may be paid for."""
        made: Job | bytes | None = None
        try:
            async with self._memory.lease() as admit:
                made = await self._service.submit(task, admit)
                if isinstance(made, Job):
                    return made
                return await self._images.keep(task, made)
        except ProviderError as error:
            error.perhaps_paid = error.perhaps_paid or made is not None
            raise
        except asyncio.CancelledError:
            if not _is_taken_back():
                raise _lost("the worker left before the call was over: its grace ended") from None
            raise ProviderError(
                ErrorCode.CANCELED, "canceled during the call", perhaps_paid=True, final=True
            ) from None
        except Exception as error:
            # Ours, and not known to pass: it is recorded with what it may have cost.
            logger.exception("the submission failed unexpectedly")
            detail = f"unexpected {type(error).__name__}: {error}"
            raise ProviderError(ErrorCode.INTERNAL, detail, perhaps_paid=True, final=True) from None

    async def _record(self, job: Job, task: SubmitTask, heart: Heart) -> None:
        """Leave the job with the server: one that it never learns of would be paid for again."""
        try:
            await heart.record(SubmitMark(job=job))
        except RPCError:
            logger.warning("Temporal is away; job %s is remembered here", job.id)
            # Who submits again finds the job here, if it comes to this process; or by its name.
            if not self._service.repeatable:
                self._unreported[_submission(task)] = job
        except asyncio.CancelledError:
            # The workflow learns of the job by the result, and stops it where that is possible.
            logger.info("canceled, or leaving, with job %s", job.id)


def _with(image: StoredImage | Spooled) -> Submitted:
    if isinstance(image, Spooled):
        return Submitted(spooled=image)
    return Submitted(image=image)


async def _record_first(heart: Heart, mark: SubmitMark) -> None:
    try:
        await heart.record(mark)
    except RPCError as error:
        raise ProviderError(
            ErrorCode.OUTCOME_UNKNOWN,
            f"nothing was sent: Temporal could not be reached before ({error.message})",
            perhaps_paid=False,
            worker_lost=True,
        ) from None


def _lost(detail: str) -> ProviderError:
    return ProviderError(ErrorCode.OUTCOME_UNKNOWN, detail, perhaps_paid=True, worker_lost=True)


def _leaves_no_time(task: SubmitTask, error: ProviderError, left: TimeLeft) -> bool:
    """Whether the time of the route is over before another attempt could be."""
    policy = activity.info().retry_policy
    pause = policy.initial_interval.total_seconds() if policy else 0.0
    pause = pause if error.retry_after is None else error.retry_after
    return left.seconds - pause < task.least_seconds


def _is_taken_back() -> bool:
    """The generation was canceled; not only this worker is leaving, or was late."""
    details = activity.cancellation_details()
    return bool(details and details.cancel_requested)


def _submission(task: SubmitTask) -> tuple[str | None, str, int]:
    """The same for all activities of one submission; a new job's is another one."""
    return activity.info().workflow_run_id, task.route.model_dump_json(), task.number


def _mark_left_behind(attempt: int, details: Sequence[Any]) -> SubmitMark:
    if attempt == 1:
        return SubmitMark(settled=True)
    # No details at all: the attempt before this one died before its first heartbeat was sent.
    return SubmitMark.model_validate(details[0]) if details else SubmitMark()
