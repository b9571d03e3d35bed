"""Running ended generations again, from where nothing is paid for twice."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from contracts import names
from contracts.errors import TAXONOMY, ErrorCode, ErrorKind
from contracts.generation import GenerationState
from contracts.tasks import DeliveryDecision
from starter.client import NotFoundError, error_of
from starter.operations.bulk import in_bulk
from starter.operations.failed import failed, failure_in
from starter.operations.parked import attribute
from starter.operations.resetting import ResetPoints, lease, read, reset

_ENDED_BY_OTHERS = (WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.TIMED_OUT)
_REFUSED_STATES: dict[str, str] = {
    GenerationState.ABANDONED: "",
    GenerationState.CANCELED: "it was canceled: the user took it back",
    GenerationState.FAILED: "it ended with the user's error {code}, and would again",
    GenerationState.COMPLETED: "it is completed",
}
"""Why a generation that ended as it should is not run again."""

_LOOK_FIRST = "look at the provider first, then: --pay-again"


class Rerun(StrEnum):
    """The result for one generation."""

    STARTED_AGAIN = "started again"
    """From its first step, with the settings as they are now."""
    DELIVERING = "delivering"
    """With the outcome that it had."""
    REFUSED = "refused"
    LEFT_OUT = "left out"
    NOT_FOUND = "not found"
    ERROR = "error"


class Rerunning(NamedTuple):
    """One generation and its result: it has begun again, or `detail` says why not."""

    workflow_id: str
    result: Rerun
    detail: str = ""
    run_id: str | None = None


class Target(NamedTuple):
    """A generation to run again. `run_id` is the run that was seen to have failed.

    `left_out` says why it is not to be run again after all.
    """

    workflow_id: str
    run_id: str | None = None
    left_out: str = ""


async def all_failed(
    client: Client, error: str | None = None, *, pay_again: bool = False
) -> AsyncIterator[Target]:
    """Every failed generation, or those with one code.

    Left out are those that may have been paid for, unless they shall be paid again; and without a
    code named those that a person must look at first.
    """
    async for each in failed(client, error):
        left_out = ""
        if each.perhaps_paid and not pay_again:
            left_out = f"{_paid(each.perhaps_paid)}: {_LOOK_FIRST}"
        elif not error and each.code in set(ErrorCode) and _is_users(each.code):
            left_out = f"{each.code}: {each.detail}. Then name it: --error {each.code}"
        yield Target(each.workflow_id, each.run_id, left_out)


def rerun(
    client: Client,
    targets: AsyncIterable[Target],
    decision: DeliveryDecision,
    *,
    error: str | None = None,
    pay_again: bool = False,
    rate: float | None = None,
) -> AsyncGenerator[Rerunning, None]:
    """Run these again, at most `rate` a second; a result for each, when it has begun.

    With `error`, only those that failed so. What may have been paid for is refused, unless
    `pay_again`; an image that exists is delivered, and costs nothing.
    """
    wish = _Wish(error, pay_again)
    operation = partial(_rerun_reported, client, decision=decision, wish=wish)
    return in_bulk(targets, operation, rate=rate)


class _Wish(NamedTuple):
    error: str | None
    pay_again: bool


async def _rerun_reported(
    client: Client, target: Target, *, decision: DeliveryDecision, wish: _Wish
) -> Rerunning:
    if target.left_out:
        return Rerunning(target.workflow_id, Rerun.LEFT_OUT, target.left_out)
    try:
        return await _rerun(client, target, decision, wish)
    except WorkflowAlreadyStartedError:
        return Rerunning(
            target.workflow_id, Rerun.REFUSED, "somebody else runs it again at this moment"
        )
    except RPCError as fault:
        known = error_of(fault)
        result = Rerun.NOT_FOUND if isinstance(known, NotFoundError) else Rerun.ERROR
        return Rerunning(target.workflow_id, result, str(known))


async def _rerun(
    client: Client, target: Target, decision: DeliveryDecision, wish: _Wish
) -> Rerunning:
    workflow_id = target.workflow_id
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id)
    seen = await handle.describe()
    if target.run_id and seen.run_id != target.run_id:
        return Rerunning(workflow_id, Rerun.REFUSED, "it was run again meanwhile")
    if refusal := _refusal(seen, wish.error):
        return Rerunning(workflow_id, Rerun.REFUSED, refusal)
    base, points = seen.run_id, await _reset_points(client, workflow_id, seen.run_id)
    if points.first_run and not points.took_image and seen.status is WorkflowExecutionStatus.FAILED:
        # It was continued with a failure: to make the image, the run before must be reset.
        base, points = points.first_run, await _reset_points(client, workflow_id, points.first_run)
    failure = await failure_in(seen)
    paid = max(failure.perhaps_paid if failure else 0, points.perhaps_paid)
    event_id, refusal = _point(points, seen, paid, wish)
    if not event_id:
        return Rerunning(workflow_id, Rerun.REFUSED, refusal)
    async with lease(client, workflow_id):
        if (await handle.describe()).run_id != seen.run_id:
            return Rerunning(workflow_id, Rerun.REFUSED, "it was run again a moment ago")
        reason = f"{decision.by or 'no name given'}: {decision.reason}"
        run_id = await reset(client, workflow_id, base, event_id, reason)
    from_start = event_id == points.first and not points.first_run
    result = Rerun.STARTED_AGAIN if from_start else Rerun.DELIVERING
    return Rerunning(workflow_id, result, run_id=run_id)


async def _reset_points(client: Client, workflow_id: str, run_id: str) -> ResetPoints:
    run: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id, run_id=run_id)
    return await read(client, run.fetch_history_events())


def _refusal(seen: WorkflowExecutionDescription, error: str | None) -> str:
    """Why this one is not run again, "" when it may be."""
    status, state = seen.status, attribute(seen, names.GENERATION_STATUS)
    code = attribute(seen, names.ERROR_CODE)
    if status is WorkflowExecutionStatus.FAILED:
        return f"it failed with {code}, not {error}" if error and error != code else ""
    if status in _ENDED_BY_OTHERS:
        return ""
    if status is WorkflowExecutionStatus.RUNNING:
        parked = state == GenerationState.PARKED
        return "it is parked: `duragen redeliver`" if parked else "it is running"
    return _REFUSED_STATES.get(state or "", "it was continued in another run").format(code=code)


def _point(
    points: ResetPoints, seen: WorkflowExecutionDescription, perhaps_paid: int, wish: _Wish
) -> tuple[int | None, str]:
    """The workflow task to reset to, or None and why there is none."""
    if points.first is None:
        return None, "it ended before a worker took it up: send it as a new request"
    if points.first_run:
        return points.first, ""
    if points.after_image or points.canceled:
        return points.delivery or points.after_image, ""
    if seen.status not in _ENDED_BY_OTHERS and seen.status is not WorkflowExecutionStatus.FAILED:
        return points.delivery or points.first, ""  # abandoned: the outcome is delivered after all
    cost = ""
    if points.unsettled:
        cost = "was ended during a call that may be charged for"
    elif perhaps_paid:
        cost = _paid(perhaps_paid)
    if cost and not wish.pay_again:
        return None, f"it {cost}: {_LOOK_FIRST}"
    return points.first, ""


def _paid(calls: int) -> str:
    return f"may have been charged for ({calls} call{'s' * (calls > 1)} without an image)"


def _is_users(code: str) -> bool:
    return TAXONOMY[ErrorCode(code)].kind is ErrorKind.USER
