"""Where an ended generation can be taken up again, read from its history; and the reset itself."""

import uuid
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    ResetWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, TimeoutError, TimeoutType  # noqa: A004
from temporalio.service import RPCError

from contracts import names
from contracts.errors import ErrorCode
from contracts.generation import Failure
from contracts.tasks import SubmitMark

LEASE_WORKFLOW = "RerunLease"
LEASE_ID_PREFIX = "rerun-"
LEASE_QUEUE = "rerun-lease"
"""No worker polls it: the lease is there to be held, not to be run."""

LEASE_SECONDS = timedelta(seconds=60)
"""After this, what a client that died left behind is gone."""

_MAKING = frozenset({names.SUBMIT_ACTIVITY, names.COLLECT_ACTIVITY})
_STARTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
_TASK_COMPLETED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
_EVERYTHING = (
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_NEXUS,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_CANCEL_REQUEST,
)
"""What operators decided about the old run (retry, abandon) is not decided about the new one."""


class ResetPoints(NamedTuple):
    """A history in short. Event ids are those of completed workflow tasks, where a reset begins."""

    first: int | None = None
    """The first one: everything is done again, with the settings as they are now."""

    after_image: int | None = None
    """The one after the image was made: it is delivered, and nothing is paid for."""

    delivery: int | None = None
    """The one that began the delivery, of an image or of a failure."""

    first_run: str = ""
    """The run that made the outcome, when this one was continued from it and began parked."""

    took_image: bool = False
    """That outcome is an image."""

    unsettled: bool = False
    """It ended while a call or a job was under way, which may have been charged for."""

    canceled: bool = False
    """Its outcome is that the user took it back: there is nothing to make."""

    perhaps_paid: int = 0
    """Calls that had ended by then without an image, and may have been charged for."""


async def read(client: Client, history: AsyncIterable[HistoryEvent]) -> ResetPoints:
    """The points of an ended run."""
    reader = _Reader(client)
    async for event in history:
        await reader.take(event)
    return reader.points._replace(unsettled=bool(reader.under_way))


class _Reader:
    """Reads a history, event by event."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._image_made = False
        self._activities: dict[int, str] = {}
        self._free: set[int] = set()
        self.under_way: set[int] = set()
        self.points = ResetPoints()

    async def take(self, event: HistoryEvent) -> None:
        """One more event."""
        if event.event_type == _STARTED:
            await self._started(event)
        elif event.event_type == _TASK_COMPLETED:
            after_image = event.event_id if self._image_made else None
            self.points = self.points._replace(
                first=self.points.first or event.event_id,
                after_image=self.points.after_image or after_image,
            )
        elif event.event_type == _SCHEDULED:
            await self._scheduled(event)
        elif event.event_type == _COMPLETED:
            await self._completed(event)
        else:
            await self._ended(event)

    async def _started(self, event: HistoryEvent) -> None:
        started = event.workflow_execution_started_event_attributes
        decoded = await self._client.data_converter.decode(started.input.payloads)
        parked = decoded[1] if len(decoded) > 1 else None
        if isinstance(parked, dict):
            self.points = self.points._replace(
                first_run=started.first_execution_run_id,
                took_image=bool(parked.get("outcome", {}).get("image")),
            )

    async def _scheduled(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        name = self._activities[event.event_id] = scheduled.activity_type.name
        if name in _MAKING:
            task = await self._first(scheduled.input)
            job = task.get("job")
            free = isinstance(job, dict) and bool(job.get("free"))
            self._free |= {event.event_id} if free else set()
            self.under_way = set() if free else {event.event_id}
        elif name == names.DELIVER_ACTIVITY and not self.points.delivery:
            outcome = (await self._first(scheduled.input)).get("outcome", {})
            canceled = (outcome.get("failure") or {}).get("code") == ErrorCode.CANCELED
            task_id = scheduled.workflow_task_completed_event_id
            self.points = self.points._replace(delivery=task_id, canceled=canceled)
            if not outcome.get("image"):  # it was on a disk, and is lost
                self._image_made, self.points = False, self.points._replace(after_image=None)

    async def _first(self, payloads: Payloads) -> dict[str, Any]:
        """The first value, which is a model's fields; of anything else, none."""
        decoded = await self._client.data_converter.decode(payloads.payloads)
        return decoded[0] if decoded and isinstance(decoded[0], dict) else {}

    async def _completed(self, event: HistoryEvent) -> None:
        completed = event.activity_task_completed_event_attributes
        if self._activities.get(completed.scheduled_event_id) not in _MAKING:
            return
        result = await self._first(completed.result)
        # One on a worker's disk counts: from there it is waited for again, and not paid for.
        self._image_made = bool(result.get("image") or result.get("spooled"))
        if self._image_made:
            self.under_way.clear()  # a job, and one handed back, stays under way

    async def _ended(self, event: HistoryEvent) -> None:
        """An activity that has no result: what it may have cost, by what it left."""
        failed = event.activity_task_failed_event_attributes
        timed_out = event.activity_task_timed_out_event_attributes
        canceled = event.activity_task_canceled_event_attributes
        ended = failed if failed.scheduled_event_id else timed_out
        for scheduling in (ended.scheduled_event_id, canceled.scheduled_event_id):
            self.under_way.discard(scheduling)
        scheduling = ended.scheduled_event_id or canceled.scheduled_event_id
        name = self._activities.get(scheduling)
        if name not in _MAKING or scheduling in self._free:
            return
        if ended.scheduled_event_id:
            error = await self._client.data_converter.decode_failure(ended.failure)
            paid = _perhaps_paid(error, name)
        else:
            paid = int(name == names.COLLECT_ACTIVITY)  # what submitted had sent nothing
        self.points = self.points._replace(perhaps_paid=self.points.perhaps_paid + paid)


def _perhaps_paid(error: BaseException, activity: str) -> int:
    """What a call may have cost: what it has recorded, else what its last heartbeat says."""
    if isinstance(error, ApplicationError) and error.type in set(ErrorCode):
        recorded = next(iter(error.details), None)
        return Failure.model_validate(recorded).perhaps_paid if recorded else 0
    if not isinstance(error, TimeoutError):
        return 1
    if activity == names.COLLECT_ACTIVITY:
        return 1  # the job was accepted
    if error.type is TimeoutType.SCHEDULE_TO_START and error.cause is None:
        return 0  # no worker ever took it
    left = next(iter(error.last_heartbeat_details), None)
    return int(not SubmitMark.model_validate(left or {}).settled)


async def reset(client: Client, workflow_id: str, run_id: str, event_id: int, reason: str) -> str:
    """Reset to before the workflow task that ended with `event_id`; the new run's id.

    Asked once: a second request would end the run that the first one made. Raises RPCError.
    """
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        reason=reason,
        workflow_task_finish_event_id=event_id,
        # Servers up to 1.32 at least do not look at it (temporalio/temporal#12042).
        request_id=str(uuid.uuid5(uuid.UUID(run_id), "rerun")),
        reset_reapply_exclude_types=_EVERYTHING,
    )
    answer = await client.workflow_service.reset_workflow_execution(request)
    return answer.run_id


@asynccontextmanager
async def lease(client: Client, workflow_id: str) -> AsyncIterator[None]:
    """Hold the right to reset a generation, for at most a minute, against all other clients.

    The server resets as often as it is asked to, and each reset ends the run before, which may have
    begun to pay. But it lets only one client start a workflow id: that workflow is the lease;
    no worker ever sees it. Raises WorkflowAlreadyStartedError when another client holds it, and
    RPCError.
    """
    held = await client.start_workflow(
        LEASE_WORKFLOW,
        id=f"{LEASE_ID_PREFIX}{workflow_id}",
        task_queue=LEASE_QUEUE,
        execution_timeout=LEASE_SECONDS,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )
    try:
        yield
    finally:
        mine = WorkflowExecution(workflow_id=held.id, run_id=held.result_run_id or "")
        request = DeleteWorkflowExecutionRequest(
            namespace=client.namespace, workflow_execution=mine
        )
        with suppress(RPCError):  # then it ends by itself
            await client.workflow_service.delete_workflow_execution(request)
