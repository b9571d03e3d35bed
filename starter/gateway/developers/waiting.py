"""Waiting for the end of a job, for those who asked for that: Temporal says when, nobody polls."""

import asyncio
from collections import Counter
from uuid import UUID

from starlette.requests import Request

from contracts.names import workflow_id
from starter.client import (
    AsyncDuragenClient,
    DuragenError,
    GenerationFailedError,
)

MOST_OF_ONE = 20
"""Requests of one caller that may wait at a time: a repeat costs neither credit nor rate."""


class Waiting:
    """At most so many at a time; `owner` is whose the generations are."""

    def __init__(self, client: AsyncDuragenClient, owner: str, most: int) -> None:
        self._client = client
        self._owner = owner
        self._most = most
        self._callers: Counter[str] = Counter()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Have all who wait answered now: this process is to end."""
        self._closing.set()

    async def ended(self, job_id: UUID, seconds: float, request: Request) -> bool:
        """Whether it ends within these seconds, Odoo informed and all.

        False also when too many wait, when the caller has left, when this process is to end, or
        when Temporal does not know the job yet or does not answer.
        """
        caller = request.state.caller_name
        if self._callers.total() >= self._most or self._callers[caller] >= MOST_OF_ONE:
            return False
        self._callers[caller] += 1
        ended = asyncio.create_task(self._ended(job_id, seconds))
        others = [asyncio.create_task(each) for each in (self._closing.wait(), _left(request))]
        try:
            await asyncio.wait([ended, *others], return_when=asyncio.FIRST_COMPLETED)
            return ended.done() and ended.result()
        finally:
            for each in (ended, *others):
                each.cancel()
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

    async def _ended(self, job_id: UUID, seconds: float) -> bool:
        try:
            await self._client.result(workflow_id(job_id, self._owner), seconds)
        except GenerationFailedError:
            return True
        except DuragenError:
            return False
        return True


async def _left(request: Request) -> object:
    """Return when the caller has closed the connection; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return None
