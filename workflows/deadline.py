"""A request's own deadline, `cancelAt`: then it is canceled, as if its user had asked for it."""

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from contracts.errors import ErrorCode
    from contracts.events import RequestHead
    from contracts.generation import Failure
    from workflows import options
    from workflows.signatures import Activities


def too_late() -> Failure:
    """What is left of a generation whose deadline has passed before it was begun."""
    detail = "not begun before its deadline, cancelAt"
    return Failure(code=ErrorCode.CANCELED, detail=detail)


async def canceled_at(deadline: datetime, head: RequestHead) -> None:
    """Wait until then, and have the server cancel this workflow; returns when it is canceled.

    By the server, so that there is one way of being canceled, whoever wants it. Through an
    activity, because the server refuses a workflow that cancels itself.
    """
    seconds = (deadline - workflow.now()).total_seconds()
    if seconds > 0:
        await workflow.sleep(seconds, summary="its deadline, cancelAt")
    await workflow.execute_activity_method(
        Activities.cancel_at_deadline,
        head,
        start_to_close_timeout=options.CANCEL_TIMEOUT,
        summary="its deadline, cancelAt, has passed",
    )
    await workflow.wait_condition(lambda: workflow.cancellation_reason() is not None)
