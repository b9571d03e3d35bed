"""What a key may ask for: a rate; its owner, with all its keys: so many generations, so many a day.

The rate is this process's own; the counts are Temporal's, so that they hold over all gateways and
over restarts. Several gateways may together let through what they admit within a second.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from contracts.names import GENERATION_WORKFLOW, OWNER
from starter.gateway.problems import ProblemError
from starter.gateway.settings import GatewayKey

Count = Callable[[str], Awaitable[int]]
"""How many generations a visibility query finds."""

COUNT_SECONDS = 1.0
"""An owner's generations are counted at most so often, however fast a caller knocks."""

UNSEEN_SECONDS = 2.0
"""So long a start may be missing in Temporal's index; meanwhile it is counted here."""

FULL_SECONDS = 5
"""`Retry-After` when too many run: nobody knows when the next one ends."""


class Budget(NamedTuple):
    """One limit, as the `RateLimit-*` headers say it; `reset` in seconds."""

    name: str
    limit: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """IETF draft-ietf-httpapi-ratelimit-headers-05."""
        figures = {"Limit": self.limit, "Remaining": max(self.remaining, 0), "Reset": self.reset}
        return {f"RateLimit-{name}": str(figure) for name, figure in figures.items()}


_TEXTS = {
    "rate_limited": "too many requests with this key: at most {limit} in a second",
    "too_many_in_flight": "{limit} generations of this key's owner are under way: wait for one",
    "daily_limit": "this key's owner has started {limit} generations today: the next day, in UTC,"
    " brings new ones",
}


def refused(budget: Budget) -> ProblemError:
    """429, with the time after which another try may pass."""
    text = _TEXTS[budget.name].format(limit=budget.limit)
    headers = {**budget.headers, "Retry-After": str(max(budget.reset, 1))}
    return ProblemError(429, text, headers=headers, name=budget.name)


class OwnerUsage:
    """How many generations an owner has under way, and has started today (UTC); for all its keys.

    `count` asks Temporal.
    """

    def __init__(self, owner: str, count: Count) -> None:
        self._whose = f"WorkflowType = '{GENERATION_WORKFLOW}' AND {OWNER} = '{owner}'"
        self._count = count
        self._counting = asyncio.Lock()
        self._counted_at = -math.inf
        self._counted = (0, 0)
        self._recent: dict[str, float] = {}

    def add(self, workflow_id: str) -> None:
        """One more was let through."""
        self._recent[workflow_id] = time.monotonic()

    async def counted(self, without: str) -> tuple[int, int]:
        """(under way, started today), without the one that is asked for."""
        async with self._counting:
            if time.monotonic() - self._counted_at >= COUNT_SECONDS:
                await self._count_again()
        recent = len(self._recent.keys() - {without})
        running, today = self._counted
        return running + recent, today + recent

    async def _count_again(self) -> None:
        began = time.monotonic()
        self._recent = {
            each: at for each, at in self._recent.items() if began - at < UNSEEN_SECONDS
        }
        # Those are counted here, whether or not the index has them yet.
        ids = ", ".join(f"'{each}'" for each in self._recent)
        whose = f"{self._whose} AND WorkflowId NOT IN ({ids})" if ids else self._whose
        day = f"{datetime.now(UTC).date().isoformat()}T00:00:00Z"
        running = self._count(f"{whose} AND ExecutionStatus = 'Running'")
        today = self._count(f"{whose} AND StartTime >= '{day}'")
        self._counted = (await running, await today)
        self._counted_at = began


class KeyLimits:
    """The limits of one key, which counts what its owner does with any."""

    def __init__(self, key: GatewayKey, usage: OwnerUsage) -> None:
        self._key = key
        self._rate = key.requests_per_second
        self._tokens = self._burst
        self._filled_at = time.monotonic()
        self._usage = usage

    @property
    def _burst(self) -> float:
        return max(self._rate or 0, 1.0)

    def take(self) -> Budget | None:
        """Take a request out of the rate; None without one. Raises ProblemError 429."""
        if self._rate is None:
            return None
        now = time.monotonic()
        self._tokens += (now - self._filled_at) * self._rate
        self._tokens, self._filled_at = min(self._tokens, self._burst), now
        spent = self._tokens < 1
        wait = math.ceil((1 - self._tokens) / self._rate) if spent else 1
        self._tokens -= 0 if spent else 1
        budget = Budget("rate_limited", int(self._burst), int(self._tokens), wait)
        if spent:
            raise refused(budget)
        return budget

    async def admit(self, workflow_id: str) -> list[Budget]:
        """Count a start in: what is left after it. Raises ProblemError 429 when nothing was."""
        key = self._key
        if key.in_flight is None and key.starts_per_day is None:
            return []
        running, today = await self._usage.counted(workflow_id)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0) + timedelta(days=1)
        left_today = math.ceil((midnight - datetime.now(UTC)).total_seconds())
        budgets = [
            Budget(name, limit, limit - used - 1, reset)
            for name, limit, used, reset in (
                ("too_many_in_flight", key.in_flight, running, FULL_SECONDS),
                ("daily_limit", key.starts_per_day, today, left_today),
            )
            if limit is not None
        ]
        for budget in budgets:
            if budget.remaining < 0:
                raise refused(budget)
        self._usage.add(workflow_id)
        return budgets
