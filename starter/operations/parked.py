"""Parked deliveries: listed from visibility, tried again in bulk, given up one by one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from pydantic import ValidationError
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import FailureError
from temporalio.service import RPCError

from contracts import names
from contracts.errors import DeliveryError
from contracts.generation import DeliveryTrouble, GenerationState, GenerationView
from contracts.tasks import DeliveryDecision
from starter.client import NotFoundError, error_of
from starter.operations.bulk import in_bulk
from starter.operations.outages import Outages

ACCEPT_SECONDS = 10.0
"""A worker that is there takes an update within milliseconds; a busy one within seconds."""

ANSWER_SECONDS = 450.0
"""One round: 2 min for its turn, four tries of at most 75 s, and the pauses between them."""

COUNT_TIMEOUT = timedelta(seconds=10)

_DELIVERED = frozenset(
    {GenerationState.COMPLETED, GenerationState.FAILED, GenerationState.CANCELED}
)


class ParkedGeneration(NamedTuple):
    """A generation whose outcome Odoo has not taken."""

    workflow_id: str
    correlation_id: str | None
    user_id: str | None
    trouble: DeliveryTrouble


class Redelivery(StrEnum):
    """The result of one more try."""

    DELIVERED = "delivered"
    ALREADY = "already delivered"
    STILL_PARKED = "still parked"
    NOT_PARKED = "not parked"
    NO_WORKER = "no answer"
    NOT_FOUND = "not found"
    ERROR = "error"


class Redelivered(NamedTuple):
    """The result for one generation; `detail` says why, `code` what Odoo said to this try."""

    workflow_id: str
    result: Redelivery
    code: str | None = None
    detail: str = ""


class AbandonError(Exception):
    """The delivery was not given up; the text says why."""


class NoWorkerError(Exception):
    """No worker answers; the generation is as it was."""


async def parked(client: Client, error: str | None = None) -> AsyncIterator[ParkedGeneration]:
    """Parked generations, the latest first; page by page. Raises RPCError."""
    async for found in client.list_workflows(_query(error)):
        yield ParkedGeneration(
            found.id,
            attribute(found, names.CORRELATION_ID),
            attribute(found, names.USER_ID),
            await _trouble(found),
        )


async def count_parked(client: Client, error: str | None = None) -> int:
    """How many there are. Raises RPCError."""
    return (await client.count_workflows(_query(error), rpc_timeout=COUNT_TIMEOUT)).count


def redeliver(
    client: Client,
    deliveries: AsyncIterable[str | ParkedGeneration],
    decision: DeliveryDecision,
    rate: float | None = None,
) -> AsyncGenerator[Redelivered, None]:
    """Try these deliveries now, at most `rate` a second; a result for each, as they come.

    Each is a workflow id, or what `parked` lists. An Odoo that is known to be away is probed once;
    while it is, its outcomes stay parked, and none is tried.
    """
    one = partial(redeliver_one, client, outages=Outages(client), decision=decision)
    return in_bulk(deliveries, one, rate=rate)


async def redeliver_one(
    client: Client,
    delivery: str | ParkedGeneration,
    *,
    outages: Outages,
    decision: DeliveryDecision,
) -> Redelivered:
    """Try one delivery now. A failure is a result too, never an exception."""
    listed = delivery if isinstance(delivery, ParkedGeneration) else None
    workflow_id = listed.workflow_id if listed else str(delivery)
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id)
    try:
        odoo = listed.trouble.odoo if listed else await _odoo_of(handle)
        if odoo and (away := await outages.away(odoo)):
            code = DeliveryError.ODOO_UNAVAILABLE
            return Redelivered(workflow_id, Redelivery.STILL_PARKED, code, f"{code}: {away}")
        return await _tried(handle, decision)
    except NoWorkerError as silent:
        return Redelivered(workflow_id, Redelivery.NO_WORKER, detail=str(silent))
    except RPCError as error:
        fault = error_of(error)
        if isinstance(fault, NotFoundError):  # also what the server says of one that has ended
            return await _not_parked(handle, "")
        return Redelivered(workflow_id, Redelivery.ERROR, detail=str(fault))


async def _tried(handle: WorkflowHandle[Any, Any], decision: DeliveryDecision) -> Redelivered:
    try:
        answer = await _update(handle, names.RETRY_DELIVERY_UPDATE, decision)
    except WorkflowUpdateFailedError as refused:
        return await _not_parked(handle, _text_of(refused))
    trouble = GenerationView.model_validate(answer).parked
    if trouble:
        detail = f"{trouble.code}: {trouble.detail}"
        return Redelivered(handle.id, Redelivery.STILL_PARKED, trouble.code, detail)
    return Redelivered(handle.id, Redelivery.DELIVERED)


async def abandon(client: Client, workflow_id: str, decision: DeliveryDecision) -> None:
    """Give one delivery up: Odoo never gets the outcome.

    Raises AbandonError when it is not parked, NoWorkerError, RPCError, NotFoundError.
    """
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id)
    try:
        await _update(handle, names.ABANDON_DELIVERY_UPDATE, decision)
    except WorkflowUpdateFailedError as refused:
        raise AbandonError(_text_of(refused)) from None
    except RPCError as error:
        if not isinstance(error_of(error), NotFoundError):
            raise
        found = await _not_parked(handle, "")
        if found.result is Redelivery.NOT_FOUND:
            raise NotFoundError("there is no such generation") from None
        raise AbandonError(found.detail) from None


def attribute(found: WorkflowExecution, name: str) -> str | None:
    """One of our search attributes."""
    return found.typed_search_attributes.get(SearchAttributeKey.for_keyword(name))


def _query(error: str | None) -> str:
    return (
        f"{names.PARKED_QUERY} AND {names.ERROR_CODE} = '{error}'" if error else names.PARKED_QUERY
    )


async def _odoo_of(handle: WorkflowHandle[Any, Any]) -> str | None:
    """Whose outcome it is, if it is parked."""
    found = await handle.describe()
    if found.status is not WorkflowExecutionStatus.RUNNING:
        return None
    return (await _trouble(found)).odoo


async def _trouble(found: WorkflowExecution) -> DeliveryTrouble:
    try:
        return DeliveryTrouble.model_validate(await found.memo_value(names.PARKED_MEMO, None))
    except ValidationError:  # parked by a version that left no memo
        code = attribute(found, names.ERROR_CODE) or DeliveryError.ODOO_UNAVAILABLE
        return DeliveryTrouble(code=code, detail="")


async def _update(handle: WorkflowHandle[Any, Any], name: str, decision: DeliveryDecision) -> Any:
    """Send an update, and wait for its answer. Raises NoWorkerError when no worker takes it."""
    try:
        async with asyncio.timeout(ACCEPT_SECONDS):
            asked = await handle.start_update(
                name,
                decision.model_dump(),  # as JSON: the client's converter may be any
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            )
    except (TimeoutError, RPCTimeoutOrCancelledError):
        raise NoWorkerError(f"no worker took it within {ACCEPT_SECONDS:g} s") from None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asked.result()
    except (TimeoutError, RPCTimeoutOrCancelledError):
        text = f"it is tried, and has not ended within {ANSWER_SECONDS:g} s"
        raise NoWorkerError(text) from None


async def _not_parked(handle: WorkflowHandle[Any, Any], why: str) -> Redelivered:
    try:
        found = await handle.describe()
    except RPCError as error:
        fault = error_of(error)
        gone = isinstance(fault, NotFoundError)
        result = Redelivery.NOT_FOUND if gone else Redelivery.ERROR
        return Redelivered(handle.id, result, detail=str(fault))
    if found.status is WorkflowExecutionStatus.RUNNING:
        return Redelivered(handle.id, Redelivery.NOT_PARKED, detail=why)
    state = attribute(found, names.GENERATION_STATUS)
    ended_well = found.status is not WorkflowExecutionStatus.TERMINATED and state in _DELIVERED
    if ended_well:
        return Redelivered(handle.id, Redelivery.ALREADY, detail=f"it ended {state}")
    status = found.status.name.lower().replace("_", " ") if found.status else "ended"
    detail = f"it has ended ({status}); `duragen rerun` delivers what was never delivered"
    return Redelivered(handle.id, Redelivery.NOT_PARKED, detail=detail)


def _text_of(refused: WorkflowUpdateFailedError) -> str:
    cause = refused.cause
    return cause.message if isinstance(cause, FailureError) else str(cause)
