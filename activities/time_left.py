"""How much of its time an activity still has."""

import asyncio
import math

from temporalio import activity

from contracts.tasks import SubmitTask


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
