"""Counting what waits for a person, in Temporal's visibility: parked, failed, stuck."""

from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from contracts.alerts import Backlog, CountTask
from contracts.errors import DeliveryError, ErrorCode
from contracts.names import (
    BACKLOG_WATCH_WORKFLOW,
    COUNT_BACKLOG_ACTIVITY,
    ERROR_CODE,
    GENERATION_WORKFLOW,
    ODOO_HEALTH_WORKFLOW,
    PARKED_QUERY,
    PROVIDER_HEALTH_WORKFLOW,
    STORING_QUERY,
)

OTHER = "other"
"""Those that no code below counts."""

TIMEOUT = timedelta(seconds=10)
"""For one count. It is answered within milliseconds; a large cluster's index takes longer."""

STUCK = (
    f"WorkflowType IN ('{GENERATION_WORKFLOW}', '{PROVIDER_HEALTH_WORKFLOW}',"
    f" '{ODOO_HEALTH_WORKFLOW}', '{BACKLOG_WATCH_WORKFLOW}')"
    " AND ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL"
)
"""The server sets the attribute after five failed workflow tasks in a row (about a minute; its
setting `system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute`) and takes it away
after one that succeeds."""


class BacklogActivities:
    """The backlog of one Temporal namespace."""

    def __init__(self, client: Client, timeout: timedelta = TIMEOUT) -> None:
        self._counter = BacklogCounter(client, timeout)

    @activity.defn(name=COUNT_BACKLOG_ACTIVITY)
    async def count_backlog(self, task: CountTask) -> Backlog:
        """Count; codes with nothing are left out. Raises RPCError, and Temporal tries again.

        The index is some seconds behind, and each count is taken at a moment of its own.
        """
        window = timedelta(seconds=task.window_seconds)
        failed = await self._counter.failed(window)
        return Backlog(
            parked=await self._counter.parked(),
            failed=failed,
            ended=await self._counter.count(ended_query(window)) if failed else 0,
            stuck=await self._counter.stuck(),
            storing=await self._counter.storing(),
        )


class BacklogCounter:
    """Counts in the visibility of `client`'s namespace; `timeout` is for one count."""

    def __init__(self, client: Client, timeout: timedelta = TIMEOUT) -> None:
        self._client = client
        self._timeout = timeout

    async def count(self, query: str) -> int:
        """How many executions `query` finds."""
        return (await self._client.count_workflows(query, rpc_timeout=self._timeout)).count

    async def storing(self) -> int:
        """Images that wait on workers' disks for the store."""
        return await self.count(STORING_QUERY)

    async def parked(self) -> dict[str, int]:
        """Parked deliveries by DeliveryError; `other` is what has none of them."""
        total = await self.count(PARKED_QUERY)
        if not total:
            return {}
        found = await self._by_code(PARKED_QUERY, tuple(DeliveryError), total)
        # What was parked since the total was taken is among the codes: never fewer than none.
        found[OTHER] = max(total - sum(found.values()), 0)
        return _some(found)

    async def failed(self, window: timedelta) -> dict[str, int]:
        """Generations that failed within `window`, by code; `other` is what has none of them."""
        query = failed_query(window)
        total = await self.count(query)
        if not total:
            return {}
        found = await self._by_code(query, tuple(ErrorCode), total)
        # What failed since the total was taken is among the codes: never fewer than none.
        found[OTHER] = max(total - sum(found.values()), 0)
        return _some(found)

    async def stuck(self) -> int:
        """Workflows whose tasks fail again and again; 0 where the server lacks the attribute."""
        try:
            return await self.count(STUCK)
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                return 0
            raise

    async def _by_code(
        self, query: str, codes: tuple[ErrorCode | DeliveryError, ...], total: int
    ) -> dict[str, int]:
        # One after the other, until all are found: a handful of counts, and no burst at an index.
        found: dict[str, int] = {}
        for code in codes:
            if sum(found.values()) >= total:
                break
            found[str(code)] = await self.count(f"{query} AND {ERROR_CODE} = '{code}'")
        return found


def failed_query(window: timedelta) -> str:
    """Generations that failed within `window` from now."""
    return f"{ended_query(window)} AND ExecutionStatus = 'Failed'"


def ended_query(window: timedelta) -> str:
    """Generations that ended within `window` from now, however."""
    since = (datetime.now(UTC) - window).isoformat(timespec="seconds")
    return f"WorkflowType = '{GENERATION_WORKFLOW}' AND CloseTime > '{since}'"


def _some(found: dict[str, int]) -> dict[str, int]:
    return {code: number for code, number in found.items() if number}
