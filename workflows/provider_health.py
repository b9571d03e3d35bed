"""The health of one provider: a window over its calls, its circuit, and the alerts about it."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.provider_health import (
        Circuit,
        HealthRules,
        ProbeTask,
        ProviderHealthState,
        ProviderHealthView,
        ProviderReport,
    )
    from workflows import options
    from workflows.alerting import sync_alerts
    from workflows.circuit import alerts_of, at, view_of, with_probe, with_report
    from workflows.failures import message_of
    from workflows.signatures import Activities


@workflow.defn(name=names.PROVIDER_HEALTH_WORKFLOW)
class ProviderHealth:
    """One a provider, id `provider-health-{name}`; begins with its first report.

    While all is well it waits for reports and does nothing else. It continues as new before its
    history grows long.
    """

    @workflow.init
    def __init__(self, state: ProviderHealthState) -> None:
        self._state = state
        self._news = False
        self._refused = False

    @workflow.run
    async def run(self, state: ProviderHealthState) -> None:  # noqa: ARG002  # taken over above
        """Judge what is reported, probe a provider that is down, synchronize alerts.

        Ends when the provider is no longer in the settings.
        """
        rules = self._state.rules
        turned: str | None = None
        probe_at = sync_at = workflow.now()
        while workflow.info().get_current_history_length() < rules.long_history_events:
            self._news = False
            self._state = at(self._state, _now())
            if self._must_sync(refresh=workflow.now() >= sync_at):
                await self._sync()
                sync_at = workflow.now() + timedelta(seconds=rules.alert_refresh_seconds)
            # A turn is probed at once: what the probe objects to now, it may see fixed later.
            if turned != self._state.since:
                turned, probe_at = self._state.since, workflow.now()
            if self._state.circuit is Circuit.OPEN and workflow.now() >= probe_at:
                gone = await self._probe()
                probe_at = workflow.now() + timedelta(seconds=rules.cool_down_seconds)
                if gone and await sync_alerts((), self._state.firing):
                    return
            else:
                await self._wait()
        workflow.continue_as_new(self._state.model_copy(update={"rules": HealthRules()}))

    @workflow.signal(name=names.REPORT_SIGNAL)
    def report(self, report: ProviderReport) -> None:
        """A batch of calls that have ended."""
        self._state = with_report(self._state, report, _now())
        self._news = True

    @workflow.query(name=names.HEALTH_QUERY)
    def health(self) -> ProviderHealthView:
        """Calls of the last five minutes, circuit, firing alerts."""
        return view_of(self._state, _now())

    async def _probe(self) -> bool:
        """Ask the provider; True when there is none of that name any more."""
        provider = self._state.provider
        try:
            probed = await workflow.execute_activity_method(
                Activities.probe_provider,
                ProbeTask(provider=provider),
                schedule_to_close_timeout=options.PROBE_TIMEOUT,
                summary=f"is {provider} back?",
            )
        except ActivityError as error:
            workflow.logger.warning("%s was not probed: %s", provider, message_of(error))
            return False
        self._state = with_probe(self._state, probed, _now())
        return probed.unknown and self._state.circuit is Circuit.CLOSED

    def _must_sync(self, *, refresh: bool) -> bool:
        wanted, firing = alerts_of(self._state), self._state.firing
        changed = {each.identity for each in wanted} != {each.identity for each in firing}
        # An Alertmanager that did not take the change is asked again at the next refresh.
        return (changed and not self._refused) or (refresh and bool(wanted or firing))

    async def _sync(self) -> None:
        """Raise the alerts that should fire, and resolve the rest."""
        wanted = alerts_of(self._state)
        self._refused = not await sync_alerts(wanted, self._state.firing)
        if not self._refused:
            self._state = self._state.model_copy(update={"firing": wanted})

    async def _wait(self) -> None:
        """Until there is a report, or until time alone may change something."""
        state = self._state
        unwell = state.circuit is not Circuit.CLOSED or state.firing or alerts_of(state)
        pause = timedelta(seconds=state.rules.cool_down_seconds) if unwell else None
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._news, timeout=pause, timeout_summary="look again"
            )


def _now() -> float:
    return workflow.now().timestamp()
