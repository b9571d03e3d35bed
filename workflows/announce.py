"""Informing others once Odoo has the outcome: the user, through the notification service."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.names import NOTIFICATIONS_QUEUE
    from contracts.tasks import DeliverTask
    from workflows import options
    from workflows.failures import failure_of
    from workflows.signatures import Activities


async def notify_user(task: DeliverTask) -> None:
    """Send the notification. A failure is logged and fails nothing: Odoo has the outcome."""
    try:
        await workflow.execute_activity_method(
            Activities.notify,
            task,
            # Not where a service that hangs would fill the slots of others.
            task_queue=NOTIFICATIONS_QUEUE,
            schedule_to_start_timeout=options.NOTIFY_QUEUE_TIMEOUT,
            start_to_close_timeout=options.NOTIFY_TIMEOUT,
            heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
            retry_policy=options.NOTIFY_RETRY,
            summary="notify the user",
        )
    except ActivityError as error:
        workflow.logger.warning("the user was not notified: %s", failure_of(error).detail)
