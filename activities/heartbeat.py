"""Heartbeats: one helper for every activity that may take long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel
from temporalio import activity
from temporalio.client import AsyncActivityCancelledError


class Heart:
    """Beats with `details`, which the next attempt finds when this one dies."""

    def __init__(self, details: BaseModel | None) -> None:
        self._details = details

    @property
    def details(self) -> BaseModel | None:
        """What it beats with now."""
        return self._details

    def beat(self, details: BaseModel | None = None) -> None:
        """Beat now, with new details when they are given. The SDK may hold it back for a while."""
        self._details = details or self._details
        activity.heartbeat(*([self._details] if self._details else []))

    async def record(self, details: BaseModel) -> None:
        """Beat and wait until the server has it: for a mark that must survive this process.

        Raises CancelledError when the server answers that the activity is to be canceled, and
        RPCError when the server cannot be reached for some ten seconds.
        """
        self.beat(details)
        info = activity.info()
        handle = activity.client().get_async_activity_handle(task_token=info.task_token)
        try:
            await handle.heartbeat(details)
        except AsyncActivityCancelledError:
            # Only the SDK's own heartbeat makes the activity end as canceled; it is on its way.
            await activity.wait_for_cancelled()
            await asyncio.sleep(0)  # where the cancellation is raised


@asynccontextmanager
async def beating(details: BaseModel | None = None) -> AsyncIterator[Heart]:
    """Beat at half the heartbeat timeout for as long as the block runs.

    Without `details` it says only that the worker lives: its death is then noticed in seconds.
    """
    heart = Heart(details)
    timeout = activity.info().heartbeat_timeout
    interval = timeout.total_seconds() / 2 if timeout else None

    async def beat_on() -> None:
        while interval:
            await asyncio.sleep(interval)
            heart.beat()

    task = asyncio.create_task(beat_on())
    try:
        yield heart
    finally:
        task.cancel()
