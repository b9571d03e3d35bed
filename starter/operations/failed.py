"""Failed generations: those that wait for a person, without those that were run again."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecution

from contracts import names
from contracts.generation import Failure
from starter.operations.parked import attribute

BATCH = 100
"""Executions a page, and ids in one query for their later runs; a server took 1,000."""


class FailedGeneration(NamedTuple):
    """A generation whose latest run failed. `code` is an ErrorCode, "" when none was written."""

    workflow_id: str
    run_id: str
    correlation_id: str | None
    code: str
    detail: str
    perhaps_paid: int
    """Calls that the providers may have charged for."""
    provider: str | None
    failed_at: datetime | None


async def failed(client: Client, error: str | None = None) -> AsyncIterator[FailedGeneration]:
    """Failed generations, the latest first; page by page. Raises RPCError.

    A run that was reset stays failed in visibility; it is left out for the run that followed it.
    """
    query = f"WorkflowType = '{names.GENERATION_WORKFLOW}' AND ExecutionStatus = 'Failed'"
    if error:
        query += f" AND {names.ERROR_CODE} = '{error}'"
    pages = client.list_workflows(query, page_size=BATCH)
    page: list[WorkflowExecution] = []
    async for found in pages:
        page.append(found)
        if len(page) == BATCH:
            for each in await _latest(client, page):
                yield each
            page = []
    for each in await _latest(client, page):
        yield each


async def _latest(client: Client, page: list[WorkflowExecution]) -> list[FailedGeneration]:
    if not page:
        return []
    latest: dict[str, tuple[datetime, str]] = {}
    ids = ", ".join(f"'{workflow_id}'" for workflow_id in {found.id for found in page})
    async for run in client.list_workflows(f"WorkflowId IN ({ids})"):
        began = (run.start_time, run.run_id)
        latest[run.id] = max(latest.get(run.id, began), began)
    return [
        await _read(found)
        for found in page
        # Visibility lags: one that the second query does not find yet counts as not run again.
        if latest.get(found.id, (None, found.run_id))[1] == found.run_id
    ]


async def failure_in(found: WorkflowExecution) -> Failure | None:
    """What its memo says; None when it failed before that was written, or by other means."""
    try:
        return Failure.model_validate(await found.memo_value(names.FAILURE_MEMO, None))
    except ValidationError:
        return None


async def _read(found: WorkflowExecution) -> FailedGeneration:
    failure = await failure_in(found)
    code = failure.code if failure else attribute(found, names.ERROR_CODE) or ""
    return FailedGeneration(
        found.id,
        found.run_id,
        attribute(found, names.CORRELATION_ID),
        str(code),
        failure.detail if failure else "",
        failure.perhaps_paid if failure else 0,
        attribute(found, names.PROVIDER),
        found.close_time,
    )
