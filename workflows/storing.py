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
        self._heard: list[SpoolNews] = []

    def hears(self, news: SpoolNews) -> None:
        """An image is in the store, or it is lost."""
        self._heard.append(news)

    async def ended(
        self, spooled: Spooled, task: FindTask, rules: FlowRules
    ) -> StoredImage | Failure:
        """The image once the store has it; or that it is lost, and may have been paid for.

        The deadline does not count here: the image is made.
        """
        until = workflow.now() + timedelta(seconds=rules.spool_seconds)
        while not (news := self._news_of(spooled)):
            left = (until - workflow.now()).total_seconds()
            if left <= 0:
                hours = rules.spool_seconds / 3_600
                return _lost(f"it was in {spooled.where} for {hours:g} hours: it counts as lost")
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._news_of(spooled) is not None,
                    timeout=min(rules.spool_look_seconds, left),
                    timeout_summary="look whether the image is in the store",
                )
            if not self._news_of(spooled) and (image := await _find(task)):
                return image
        return news.image or news.failure or _lost(f"{spooled.where} has lost it")

    def _news_of(self, spooled: Spooled) -> SpoolNews | None:
        """What was said of these bytes, not of others that an attempt or a run before has left."""
        ours = spooled.image.sha256
        return next((each for each in self._heard if ours.startswith(each.sha256)), None)


async def _find(task: FindTask) -> StoredImage | None:
    try:
        found = await workflow.execute_activity_method(
            Activities.find_stored,
            task,
            start_to_close_timeout=options.FIND_TIMEOUT,
            schedule_to_close_timeout=options.FIND_ALLOWANCE,
            # In 10 minutes there is the next look: an outage must not cost more, the longer it is.
            retry_policy=options.ONCE,
            summary="is the image in the store?",
        )
    except ActivityError as error:
        workflow.logger.warning("the store could not be asked: %s", failure_of(error).detail)
        return None
    return found.image


def _lost(detail: str) -> Failure:
    return Failure(code=ErrorCode.STORE_UNAVAILABLE, detail=detail, perhaps_paid=1)
