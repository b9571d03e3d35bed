"""The wait for an image that is paid for, until it has come from a worker's disk into the store."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.errors import ErrorCode
    from contracts.generation import Failure, FlowRules, Spooled, StoredImage
    from contracts.tasks import FindTask, SpoolNews
    from workflows import options
    from workflows.failures import failure_of
    from workflows.signatures import Activities


class Storing:
    """What the worker's spool says of this generation's image; it may say so before it is asked."""

    def __init__(self) -> None:
        self._news: SpoolNews | None = None

    def hears(self, news: SpoolNews) -> None:
        """The image is in the store, or it is lost."""
        self._news = news

    async def ended(
        self, spooled: Spooled, task: FindTask, rules: FlowRules
    ) -> StoredImage | Failure:
        """The image once the store has it; or that it is lost, and may have been paid for.

        The deadline does not count here: the image is made.
        """
        until = workflow.now() + timedelta(seconds=rules.spool_seconds)
        while self._news is None:
            left = (until - workflow.now()).total_seconds()
            if left <= 0:
                hours = rules.spool_seconds / 3_600
                return _lost(f"it was in {spooled.where} for {hours:g} hours: it counts as lost")
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._news is not None,
                    timeout=min(rules.spool_look_seconds, left),
                    timeout_summary="look whether the image is in the store",
                )
            if self._news is None and (image := await _find(task)):
                return image
        news = self._news
        return news.image or news.failure or _lost(f"{spooled.where} has lost it")


async def _find(task: FindTask) -> StoredImage | None:
    try:
        found = await workflow.execute_activity_method(
            Activities.find_stored,
            task,
            start_to_close_timeout=options.FIND_TIMEOUT,
            schedule_to_close_timeout=options.FIND_ALLOWANCE,
            summary="is the image in the store?",
        )
    except ActivityError as error:
        workflow.logger.warning("the store could not be asked: %s", failure_of(error).detail)
        return None
    return found.image


def _lost(detail: str) -> Failure:
    return Failure(code=ErrorCode.STORE_UNAVAILABLE, detail=detail, perhaps_paid=1)
