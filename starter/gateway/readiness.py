"""Whether Temporal answers, asked once for all who want to know."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from starter.client import DuragenError

FRESH_SECONDS = 1.0
"""So old an answer may be. Who asks needs no key, so that more askers may cost Temporal nothing."""


class Readiness:
    """Shares one answer of `ping`; one call is under way at a time."""

    def __init__(self, ping: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping
        self._asking = asyncio.Lock()
        self._answered_at = -math.inf
        self._failure: DuragenError | None = None

    async def check(self) -> None:
        """Return when Temporal answers. Raises what `ping` raises."""
        async with self._asking:
            if time.monotonic() - self._answered_at >= FRESH_SECONDS:
                self._failure = await self._asked()
                self._answered_at = time.monotonic()
        if self._failure:
            # Without the traceback of those who got it before.
            raise self._failure.with_traceback(None)

    async def _asked(self) -> DuragenError | None:
        try:
            await self._ping()
        except DuragenError as error:
            return error
        return None
