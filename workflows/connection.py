"""The connection test of an Odoo: seconds, one attempt for each step, nothing is generated."""

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.connection import (
        CalledBack,
        ConnectionLook,
        ConnectionTested,
        ConnectionTestTask,
    )
    from workflows import options
    from workflows.calls import is_cancellation
    from workflows.failures import failure_of
    from workflows.signatures import Activities


@workflow.defn(name=names.CONNECTION_WORKFLOW)
class ConnectionTest:
    """One test, id `connection-test-{requestId}`; whoever asked waits for its result."""

    @workflow.run
    async def run(self, task: ConnectionTestTask) -> ConnectionTested:
        """Ask a worker what it knows, then have one call Odoo back."""
        look: ConnectionLook = await workflow.execute_activity_method(
            Activities.look_up,
            task,
            schedule_to_close_timeout=options.LOOK_UP_TIMEOUT,
            retry_policy=options.ONCE,
            priority=Priority(priority_key=names.FIRST_PRIORITY),
            summary=f"{len(task.model_ids)} models",
        )
        if look.fault:
            called = CalledBack(ok=False, detail=look.fault)
        elif look.odoo is None:
            called = CalledBack(detail=look.unchecked or "")
        else:
            called = await _called_back(task, look.odoo)
        return ConnectionTested(
            unknown_models=look.unknown_models, queues=look.queues, callback=called
        )


async def _called_back(task: ConnectionTestTask, odoo: str) -> CalledBack:
    try:
        called: CalledBack = await workflow.execute_activity_method(
            Activities.call_back,
            task,
            task_queue=names.odoo_queue(odoo),
            schedule_to_close_timeout=options.CALL_BACK_TIMEOUT,
            retry_policy=options.ONCE,
            priority=Priority(priority_key=names.FIRST_PRIORITY),
            summary=f"a test event to {odoo}",
        )
    except ActivityError as error:
        if is_cancellation(error):
            raise
        # A queue that nobody polls, or whose slots all hang: either is the answer.
        return CalledBack(ok=False, detail=f"no call was made: {failure_of(error).detail}"[:500])
    return called
