"""Synchronizing alerts with Alertmanager; shared by the workflows that raise them."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.alerts import AdminAlert, AlertTask
    from workflows import options
    from workflows.failures import failure_of
    from workflows.signatures import Activities


async def sync_alerts(wanted: tuple[AdminAlert, ...], firing: tuple[AdminAlert, ...]) -> bool:
    """Raise `wanted`, and resolve what else fires; False when Alertmanager did not take it."""
    names = {each.identity for each in wanted}
    resolved = tuple(each for each in firing if each.identity not in names)
    if not wanted and not resolved:
        return True
    try:
        await workflow.execute_activity_method(
            Activities.send_alerts,
            AlertTask(
                firing=wanted, resolved=resolved, lasts_seconds=options.ALERT_LASTS.total_seconds()
            ),
            start_to_close_timeout=options.ALERT_TIMEOUT,
            schedule_to_close_timeout=options.ALERT_ALLOWANCE,
            summary=f"{len(wanted)} firing, {len(resolved)} resolved",
        )
    except ActivityError as error:
        workflow.logger.warning("the alerts were not sent: %s", failure_of(error).detail)
        return False
    return True
