"""Counting what waits for a person, in Temporal's visibility: parked, failed, stuck."""

from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from contracts.alerts import CountTask, Troubled
from contracts.errors import DeliveryError, ErrorCode
from contracts.names import (
    COUNT_TROUBLED_ACTIVITY,
    ERROR_CODE,
    GENERATION_WORKFLOW,
    PARKED_QUERY,
    PROVIDER_HEALTH_WORKFLOW,
    WATCH_WORKFLOW,
)

OTHER = "other"
"""Those that no code below counts."""

WATCHED_FAILURES = (ErrorCode.INTERNAL, ErrorCode.MODEL_CONFIG, ErrorCode.INVALID_INPUT)
"""Failures that no provider's health tells of. INVALID_INPUT fails a workflow, in place of
completing it, when nobody could be told."""

TIMEOUT = timedelta(seconds=10)
"""For one count. It is answered within milliseconds; a large cluster's index takes longer."""

STUCK = (
    f"WorkflowType IN ('{GENERATION_WORKFLOW}', '{PROVIDER_HEALTH_WORKFLOW}', '{WATCH_WORKFLOW}')"
    " AND ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL"
)
"""The server sets the attribute after five failed workflow tasks in a row (about a minute; its
setting `system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute`) and takes it away
after one that succeeds."""


class WatchActivities:
    """One Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=COUNT_TROUBLED_ACTIVITY)
    async def count_troubled(self, task: CountTask) -> Troubled:
        """Count; codes with nothing are left out. Raises RPCError, and Temporal tries again.

        The index is some seconds behind, and each count is taken at a moment of its own.
        """
        failed = failed_query(timedelta(seconds=task.window_seconds))
        return Troubled(
            parked=await count_parked(self._client),
            failed=await self._failed(failed),
            stuck=await count_stuck(self._client),
        )

    async def _failed(self, query: str) -> dict[str, int]:
        if not await count(self._client, query):
            return {}
        found = await _by_code(self._client, query, WATCHED_FAILURES)
        found[OTHER] = await count(self._client, f"{query} AND {ERROR_CODE} IS NULL")
        return _some(found)


async def count(client: Client, query: str) -> int:
    """How many executions `query` finds."""
    return (await client.count_workflows(query, rpc_timeout=TIMEOUT)).count


async def count_parked(client: Client) -> dict[str, int]:
    """Parked deliveries by DeliveryError; `other` is what has none of them."""
    total = await count(client, PARKED_QUERY)
    if not total:
        return {}
    found = await _by_code(client, PARKED_QUERY, tuple(DeliveryError))
    # What was parked since the total was taken is among the codes: never fewer than none.
    found[OTHER] = max(total - sum(found.values()), 0)
    return _some(found)


async def count_stuck(client: Client) -> int:
    """Workflows whose code stumbles; 0 also where the server has no such attribute."""
    try:
        return await count(client, STUCK)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return 0
        raise


def failed_query(window: timedelta) -> str:
    """Generations that failed within `window` from now."""
    since = (datetime.now(UTC) - window).isoformat(timespec="seconds")
    return (
        f"WorkflowType = '{GENERATION_WORKFLOW}' AND ExecutionStatus = 'Failed'"
        f" AND CloseTime > '{since}'"
    )


async def _by_code(
    client: Client, query: str, codes: tuple[ErrorCode | DeliveryError, ...]
) -> dict[str, int]:
    # One after the other: a handful of counts a minute, and no burst at a cluster's index.
    return {
        str(code): await count(client, f"{query} AND {ERROR_CODE} = '{code}'") for code in codes
    }


def _some(found: dict[str, int]) -> dict[str, int]:
    return {code: number for code, number in found.items() if number}
