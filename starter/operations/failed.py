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
"""Ids in one query for their later runs; a server took 1,000."""


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
    batch: list[WorkflowExecution] = []
    # In pages as large as Temporal has them: SQLite reads all pages before a page once more.
    async for found in client.list_workflows(query):
        batch.append(found)
        if len(batch) == BATCH:
            for each in await _latest(client, batch):
                yield each
            batch = []
    for each in await _latest(client, batch):
        yield each


async def _latest(client: Client, batch: list[WorkflowExecution]) -> list[FailedGeneration]:
    if not batch:
        return []
    ids = {found.id for found in batch}
    quoted = ", ".join(f"'{each}'" for each in ids)
    runs = f"WorkflowId IN ({quoted})"
    # The count costs a third of the list, for which SQLite reads and sorts everything there is.
    if (await client.count_workflows(runs)).count == len(ids) == len(batch):
        return [await _read(found) for found in batch]
    latest: dict[str, tuple[datetime, str]] = {}
    async for run in client.list_workflows(runs):
        began = (run.start_time, run.run_id)
        latest[run.id] = max(latest.get(run.id, began), began)
    return [
        await _read(found)
        for found in batch
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
