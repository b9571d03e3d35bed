"""Telling administrators; shared by what watches."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts.alerts import AdminAlert, AlertsSent, AlertTask
    from contracts.names import SEND_ALERTS_ACTIVITY
    from workflows import options
    from workflows.generate import failure_of


async def sync_alerts(wanted: tuple[AdminAlert, ...], standing: tuple[AdminAlert, ...]) -> bool:
    """Raise `wanted`, resolve what else stands; False when Alertmanager could not be told."""
    names = {each.identity for each in wanted}
    resolved = tuple(each for each in standing if each.identity not in names)
    if not wanted and not resolved:
        return True
    try:
        await workflow.execute_activity(
            SEND_ALERTS_ACTIVITY,
            AlertTask(
                firing=wanted, resolved=resolved, lasts_seconds=options.ALERT_LASTS.total_seconds()
            ),
            result_type=AlertsSent,
            start_to_close_timeout=options.ALERT_TIMEOUT,
            schedule_to_close_timeout=options.ALERT_ALLOWANCE,
            summary=f"{len(wanted)} firing, {len(resolved)} resolved",
        )
    except ActivityError as error:
        workflow.logger.warning("administrators were not told: %s", failure_of(error).detail)
        return False
    return True
