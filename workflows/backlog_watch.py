"""The backlog watch: counts what waits for a person, and raises alerts for as long as it does."""

from collections.abc import Iterator
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.alerts import AdminAlert, Backlog, BacklogRules, BacklogWatchState, CountTask
    from contracts.errors import ErrorCode
    from workflows import options
    from workflows.alert_texts import (
        deliveries_parked,
        generations_failed,
        images_waiting,
        workflows_stuck,
    )
    from workflows.alerting import sync_alerts
    from workflows.failures import failure_of
    from workflows.signatures import Activities


@workflow.defn(name=names.BACKLOG_WATCH_WORKFLOW)
class BacklogWatch:
    """One a namespace, id `backlog-watch`. Every worker starts it; the id makes it one.

    It counts what the server knows, so that a process which dies cannot hide its part.
    """

    @workflow.run
    async def run(self, state: BacklogWatchState) -> None:
        """Count, synchronize alerts, wait; continue as new before the history grows long."""
        firing, sent_at, rules = state.firing, workflow.now(), state.rules
        while workflow.info().get_current_history_length() < rules.long_history_events:
            wanted = await _count(rules)
            changed = wanted is not None and wanted != firing
            due = sent_at + timedelta(seconds=rules.alert_refresh_seconds)
            refresh = bool(wanted) and workflow.now() >= due
            if wanted is not None and (changed or refresh) and await sync_alerts(wanted, firing):
                firing, sent_at = wanted, workflow.now()
            await workflow.sleep(options.COUNT_EVERY, summary="count again")
        workflow.continue_as_new(BacklogWatchState(firing=firing))


async def _count(rules: BacklogRules) -> tuple[AdminAlert, ...] | None:
    """The alerts that should fire; None when the backlog could not be counted."""
    try:
        backlog = await workflow.execute_activity_method(
            Activities.count_backlog,
            CountTask(window_seconds=options.FAILED_WINDOW.total_seconds()),
            start_to_close_timeout=options.ALERT_TIMEOUT,
            schedule_to_close_timeout=options.ALERT_ALLOWANCE,
            summary="parked and failed generations",
        )
    except ActivityError as error:
        workflow.logger.warning("the backlog was not counted: %s", failure_of(error).detail)
        return None
    return tuple(_alerts(backlog, rules))


def _alerts(backlog: Backlog, rules: BacklogRules) -> Iterator[AdminAlert]:
    for code, count in sorted(backlog.parked.items()):
        yield deliveries_parked(code, count)
    minutes = options.FAILED_WINDOW.total_seconds() / 60
    for code, count in sorted(backlog.failed.items()):
        if _is_worth_an_alert(code, count, backlog.ended, rules):
            yield generations_failed(code, count, minutes)
    if backlog.storing:
        yield images_waiting(backlog.storing)
    if backlog.stuck:
        yield workflows_stuck(backlog.stuck)


def _is_worth_an_alert(code: str, count: int, ended: int, rules: BacklogRules) -> bool:
    if code not in set(ErrorCode) or code in rules.at_once:
        return True
    return count >= rules.fewest_to_warn and count > ended * rules.frequent
