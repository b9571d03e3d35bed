"""The health of one Odoo: whether it is away, probes while it is, the release when it is back."""

from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.odoo_health import (
        OdooHealthRules,
        OdooHealthState,
        OdooHealthView,
        OdooProbed,
        OdooProbeTask,
        OdooReport,
        ReleaseTask,
    )
    from contracts.plain import code_span
    from workflows import options
    from workflows.failures import message_of
    from workflows.signatures import Activities

TRIALS_KEPT = 50
"""So many of the latest trials are remembered."""


@workflow.defn(name=names.ODOO_HEALTH_WORKFLOW)
class OdooHealth:
    """One an Odoo, id `odoo-health-{origin}`; begins with the first delivery that failed.

    Deliveries alone find out that it is away, probes alone that it is back. While all is well it
    waits for reports and does nothing else. It continues as new before its history grows long.
    """

    @workflow.init
    def __init__(self, state: OdooHealthState) -> None:
        self._state = state
        self._news = False
        self._asked = 0
        """The number of the probe that somebody waits for."""
        self._probes = 0
        """Probes that have begun in this run."""
        self._answered = 0
        """The number of the last one that has ended."""
        self._leaving = False
        self._show()

    @workflow.run
    async def run(self, state: OdooHealthState) -> None:  # noqa: ARG002  # taken over above
        """Judge what is reported, probe while it is away, release what is parked when it is back.

        Ends when the Odoo is no longer in the settings.
        """
        rules = self._state.rules
        last_probe: datetime | None = None
        while workflow.info().get_current_history_length() < rules.long_history_events:
            self._news = False
            if self._state.away_since:
                await self._wait_for_probe(last_probe)
                last_probe = workflow.now()
                if await self._probe():
                    return
            elif self._state.release:
                await self._release()
            else:
                await workflow.wait_condition(lambda: self._news)
        # Who asked for a probe is answered by this run: the next one knows nothing of it.
        self._leaving = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(self._state.model_copy(update={"rules": OdooHealthRules()}))

    @workflow.signal(name=names.REPORT_SIGNAL)
    def report(self, report: OdooReport) -> None:
        """A batch of deliveries that have ended."""
        state = self._state
        if state.away_since:
            return  # deliveries from before it was away, and trials: the probes say more
        failing = report.failing_since_answer
        streak = failing if report.answered else state.streak + failing
        self._change(streak=streak, detail=report.detail if streak else "")
        if streak >= state.rules.failures_in_a_row:
            since = workflow.now().isoformat(timespec="seconds")
            self._change(away_since=since, release=False, tried=())
        self._news = True

    @workflow.query(name=names.HEALTH_QUERY)
    def health(self) -> OdooHealthView:
        """Whether it is away, since when, and the last answer."""
        state = self._state
        return OdooHealthView(
            odoo=state.odoo,
            away_since=state.away_since,
            streak=state.streak,
            detail=state.detail,
            releasing=state.release,
        )

    @workflow.update(name=names.PROBE_NOW_UPDATE)
    async def probe_now(self) -> OdooHealthView:
        """Probe an Odoo that is away at once, and answer after the probe.

        A probe that is under way may have asked before it was back: the next one counts.
        """
        if self._state.away_since:
            self._asked = mine = self._probes + 1
            await workflow.wait_condition(
                lambda: self._answered >= mine or not self._state.away_since or self._leaving
            )
        return self.health()

    async def _wait_for_probe(self, last: datetime | None) -> None:
        """Until the next probe is due: sooner when somebody asks, but never in a burst."""
        if last is None:
            # The deliveries that found it away were of just now; so was a probe of the last run.
            last = workflow.now()
        rules = self._state.rules
        if due := _left(last, rules.probe_seconds):
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._asked > self._probes, timeout=due, timeout_summary="next probe"
                )
        if pause := _left(last, rules.asked_probe_seconds):
            await workflow.sleep(pause, summary="no burst of probes")

    async def _probe(self) -> bool:
        """Look whether it is back; True when there is no such Odoo in the settings any more."""
        state = self._state
        self._probes += 1
        thorough = self._asked >= self._probes or self._probes % state.rules.thorough_every == 0
        try:
            probed: OdooProbed = await workflow.execute_activity_method(
                Activities.probe_odoo,
                OdooProbeTask(odoo=state.odoo, tried=state.tried, thorough=thorough),
                start_to_close_timeout=options.PROBE_ODOO_TIMEOUT,
                heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
                retry_policy=options.ONCE,
                summary=f"is {state.odoo} back?",
            )
        except ActivityError as error:
            probed = OdooProbed(found=f"it was not probed: {message_of(error.cause or error)}")
        if probed.trial:
            self._change(tried=(*state.tried, probed.trial)[-TRIALS_KEPT:])
        if probed.back:
            known = {"released": 0, "only_held": False, "detail": ""}
            self._change(away_since=None, streak=0, release=True, **known)
        else:
            self._change(detail=probed.found)
        self._answered = self._probes
        return probed.unknown

    async def _release(self) -> None:
        """Have what is parked delivered; ends when a look finds nothing that was held meanwhile."""
        state = self._state
        try:
            done = await workflow.execute_activity_method(
                Activities.release_parked,
                ReleaseTask(odoo=state.odoo, only_held=state.only_held),
                start_to_close_timeout=options.RELEASE_TIMEOUT,
                heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
                retry_policy=options.RELEASE_RETRY,
                summary="deliver what is parked, the oldest first",
            )
        except ActivityError as error:
            workflow.logger.warning("not released: %s", message_of(error.cause or error))
        else:
            released = self._state.released + done.released
            complete = state.only_held and not done.released and not done.stopped
            self._change(released=released, only_held=not done.stopped, release=not complete)
        if self._state.away_since:
            self._change(release=False)
        elif self._state.release:
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._state.away_since is not None,
                    timeout=timedelta(seconds=state.rules.settle_seconds),
                    timeout_summary="what was parked meanwhile?",
                )

    def _change(self, **changes: object) -> None:
        self._state = self._state.model_copy(update=changes)
        self._show()

    def _show(self) -> None:
        """Write the current details, which the Web UI shows; they cost no event."""
        state = self._state
        if state.away_since:
            text = (
                f"**Away** since {state.away_since}. Outcomes are parked without an attempt. A"
                f" probe asks every {state.rules.probe_seconds:g} s whether it is back; then they"
                f" are delivered, the oldest first.\n\n- last answer: {code_span(state.detail)}"
            )
        elif state.release:
            text = f"**Back.** Parked outcomes are being delivered; released: {state.released}."
        elif state.streak:
            text = (
                f"{state.streak} deliveries in a row failed.\n\n- last: {code_span(state.detail)}"
            )
        else:
            text = "**Well.** Nothing waits for it."
        workflow.set_current_details(f"{code_span(state.odoo)}: {text}")


def _left(last: datetime, seconds: float) -> timedelta:
    return max(last + timedelta(seconds=seconds) - workflow.now(), timedelta(0))
