"""Informing others once Odoo has the outcome: the user, and who listens at the message broker."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.names import BROKER_QUEUE, NOTIFICATIONS_QUEUE
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


async def publish_outcome(task: DeliverTask) -> None:
    """Announce it at the message broker, which may be away for long. Fails nothing, as above."""
    try:
        await workflow.execute_activity_method(
            Activities.publish,
            task,
            task_queue=BROKER_QUEUE,
            schedule_to_close_timeout=options.PUBLISH_ALLOWANCE,
            start_to_close_timeout=options.PUBLISH_TIMEOUT,
            heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
            retry_policy=options.PUBLISH_RETRY,
            summary=f"publish {task.message_id}",
        )
    except ActivityError as error:
        workflow.logger.warning("the outcome was not published: %s", failure_of(error).detail)
