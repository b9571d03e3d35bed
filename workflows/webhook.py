"""One webhook of an API user: attempts on a schedule of hours, each reported to Odoo."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.alerts import AdminAlert, AlertName, AlertTask, Severity
    from contracts.plain import code_span
    from contracts.webhooks import (
        PAUSES_SECONDS,
        WebhookEnd,
        WebhookReported,
        WebhookSent,
        WebhookTask,
    )
    from workflows import options
    from workflows.calls import is_cancellation
    from workflows.failures import failure_of
    from workflows.signatures import Activities


@workflow.defn(name=names.WEBHOOK_WORKFLOW)
class WebhookDelivery:
    """One delivery, id `webhook-{deliveryId}`; another one holds it up in no way."""

    @workflow.run
    async def run(self, task: WebhookTask) -> WebhookSent:
        """Try until it is taken, gone, dropped, or the schedule has ended; the last attempt."""
        for number, pause in enumerate(PAUSES_SECONDS, start=1):
            if pause:
                await workflow.sleep(timedelta(seconds=pause), summary="until the next attempt")
            sent = await self._attempt(task.model_copy(update={"number": number}))
            if sent.end is not WebhookEnd.FAILED:
                break
        return sent

    async def _attempt(self, task: WebhookTask) -> WebhookSent:
        priority = Priority(fairness_key=task.receiver)
        try:
            sent: WebhookSent = await workflow.execute_activity_method(
                Activities.send_webhook,
                task,
                task_queue=names.WEBHOOK_QUEUE,
                start_to_close_timeout=options.WEBHOOK_TIMEOUT,
                schedule_to_close_timeout=options.WEBHOOK_ALLOWANCE,
                retry_policy=options.WEBHOOK_RETRY,
                priority=priority,
                summary=f"attempt {task.number}, {code_span(task.receiver)}",
            )
        except ActivityError as error:
            if is_cancellation(error):
                raise
            # Odoo was away for a day, so nobody knows what to send: an attempt like any other.
            sent = WebhookSent(end=WebhookEnd.FAILED, answer=failure_of(error).detail[:300])
        try:
            reported: WebhookReported = await workflow.execute_activity_method(
                Activities.report_webhook,
                task.model_copy(update={"sent": sent}),
                task_queue=names.WEBHOOK_QUEUE,
                start_to_close_timeout=options.WEBHOOK_TIMEOUT,
                schedule_to_close_timeout=options.WEBHOOK_ALLOWANCE,
                retry_policy=options.WEBHOOK_RETRY,
                priority=priority,
                summary=f"attempt {task.number} was {sent.end}",
            )
        except ActivityError as error:
            if is_cancellation(error):
                raise
            workflow.logger.warning("not reported: %s", failure_of(error).detail)
        else:
            if reported.failing:
                await _alert(task)
        return sent


async def _alert(task: WebhookTask) -> None:
    """Inform administrators: the user whose webhook it is hears it from Odoo."""
    alert = AdminAlert(
        name=AlertName.WEBHOOK_DISABLED,
        severity=Severity.WARNING,
        service=f"webhook {task.receiver}",
        summary="a webhook was switched off",
        description="It has failed for five days. Its user got a mail. Look at the webhook's"
        " deliveries in Odoo for what its receiver answered.",
    )
    lasts_seconds = options.WEBHOOK_ALERT_LASTS.total_seconds()
    try:
        await workflow.execute_activity_method(
            Activities.send_alerts,
            AlertTask(firing=(alert,), lasts_seconds=lasts_seconds),
            start_to_close_timeout=options.ALERT_TIMEOUT,
            schedule_to_close_timeout=options.WEBHOOK_ALLOWANCE,
            summary=alert.summary,
        )
    except ActivityError as error:
        if is_cancellation(error):
            raise
        workflow.logger.warning("no alert: %s", failure_of(error).detail)
