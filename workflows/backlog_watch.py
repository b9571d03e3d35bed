"""The watch: counts what waits for a person, and tells administrators for as long as it does."""

from collections.abc import Iterator

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.alerts import (
        AdminAlert,
        AlertName,
        Backlog,
        BacklogWatchState,
        CountTask,
        Severity,
    )
    from contracts.errors import DeliveryError
    from workflows import options
    from workflows.alerting import sync_alerts
    from workflows.generate import failure_of

_WHAT_TO_DO: dict[str, str] = {
    DeliveryError.ODOO_UNAVAILABLE: "Odoo is away or answers with errors; deliveries are tried"
    " again by themselves. When it is back, `duragen redeliver --all` does it at once.",
    DeliveryError.ODOO_REFUSED: "Odoo refuses the outcome: `duragen parked` says why. Fix that,"
    " then `duragen redeliver --all --error ODOO_REFUSED`.",
}


@workflow.defn(name=names.BACKLOG_WATCH_WORKFLOW)
class BacklogWatch:
    """One a namespace, id `backlog-watch`; started by every worker, and so by none twice.

    It looks at what the server knows, so that nothing which dies can forget to tell it.
    """

    @workflow.run
    async def run(self, state: BacklogWatchState) -> None:
        """Count, tell, wait; in a fresh history before this one grows long."""
        firing, told_at = state.firing, workflow.now()
        while workflow.info().get_current_history_length() < options.LONG_HISTORY_EVENTS:
            wanted = await _count()
            changed = wanted is not None and wanted != firing
            refresh = bool(wanted) and workflow.now() >= told_at + options.ALERT_REFRESH
            if wanted is not None and (changed or refresh) and await sync_alerts(wanted, firing):
                firing, told_at = wanted, workflow.now()
            await workflow.sleep(options.WATCH_EVERY, summary="count again")
        workflow.continue_as_new(BacklogWatchState(firing=firing))


async def _count() -> tuple[AdminAlert, ...] | None:
    """The alerts that should stand; None when nobody can tell just now."""
    try:
        troubled = await workflow.execute_activity(
            names.COUNT_BACKLOG_ACTIVITY,
            CountTask(window_seconds=options.FAILED_WINDOW.total_seconds()),
            result_type=Backlog,
            start_to_close_timeout=options.ALERT_TIMEOUT,
            schedule_to_close_timeout=options.ALERT_ALLOWANCE,
            summary="parked and failed generations",
        )
    except ActivityError as error:
        workflow.logger.warning("nothing was counted: %s", failure_of(error).detail)
        return None
    return tuple(_alerts(troubled))


def _alerts(troubled: Backlog) -> Iterator[AdminAlert]:
    for code, count in sorted(troubled.parked.items()):
        yield AdminAlert(
            name=AlertName.DELIVERIES_PARKED,
            severity=Severity.CRITICAL,
            service="odoo",
            error_type=code,
            summary=f"{count} outcomes have not reached Odoo: {code}",
            description="Images are safe, and nothing is generated again for it. "
            + _WHAT_TO_DO.get(code, "`duragen parked` says why."),
        )
    minutes = int(options.FAILED_WINDOW.total_seconds() // 60)
    for code, count in sorted(troubled.failed.items()):
        yield AdminAlert(
            name=AlertName.GENERATIONS_FAILED,
            severity=Severity.CRITICAL,
            service="duragen",
            error_type=code,
            summary=f"{count} generations failed in {minutes} min: {code}",
            description="`duragen failed` lists them and says why. Fix it, then `duragen rerun"
            f" --all --error {code}`; what was paid for is not paid again.",
        )
    if troubled.stuck:
        yield AdminAlert(
            name=AlertName.WORKFLOWS_STUCK,
            severity=Severity.CRITICAL,
            service="duragen",
            summary=f"{troubled.stuck} workflows cannot go on: their code stumbles",
            description="Nothing is lost: they go on with a worker whose code fits. In the Web UI:"
            " `TemporalReportedProblems IS NOT NULL`; at home: `duragen replay`.",
        )
