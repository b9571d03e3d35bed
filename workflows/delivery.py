"""Telling Odoo the outcome, however long it takes: retries, then parked until it is taken."""

from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.errors import DeliveryError
    from contracts.generation import (
        Delivered,
        DeliverTask,
        DeliveryDecision,
        DeliveryTrouble,
        GenerationState,
        GenerationView,
    )
    from workflows import options
    from workflows.display import ERROR_CODE, Display
    from workflows.generate import message_of


class Delivery:
    """One outcome on its way to Odoo, and what operators decide about it meanwhile."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._decision: str | None = None
        self._rounds = 0
        self.was_parked = False

    async def deliver(self, task: DeliverTask, trouble: DeliveryTrouble | None) -> bool:
        """Until Odoo has taken it or an operator gives it up: True.

        False when the history has grown long: it is parked, and goes on in a fresh one, where
        `trouble` is what the view says now.
        """
        if trouble:
            self._park(trouble)
        else:
            trouble = await self._try(task, None)
        while trouble:
            if await self._may_renew():
                return False
            await self._wait(trouble)
            if self._display.view.abandoned:
                return True
            self._decision = None
            self._display.enter(GenerationState.DELIVERING)
            trouble = await self._try(task, trouble)
        return True

    async def retry(self, decision: DeliveryDecision) -> GenerationView:
        """Try a parked delivery now; the view after the try."""
        workflow.logger.info("delivery is tried again: %s %s", decision.by, decision.reason)
        self._decision = names.RETRY_DELIVERY_UPDATE
        this_round = self._rounds + 1
        await workflow.wait_condition(lambda: self._rounds >= this_round)
        return self._display.view

    def abandon(self, decision: DeliveryDecision) -> None:
        """Give a parked delivery up: Odoo will never be told."""
        workflow.logger.warning("delivery is abandoned: %s %s", decision.by, decision.reason)
        self._decision = names.ABANDON_DELIVERY_UPDATE
        who = decision.by or "no name given"
        self._display.change(abandoned=f"{who}: {decision.reason}")

    def refuse_unless_parked(self) -> None:
        """Raise ValueError when there is nothing to decide."""
        state = self._display.view.state
        if state is not GenerationState.PARKED:
            raise ValueError(f"the delivery is not parked; the generation is {state}")
        if self._decision:
            raise ValueError(f"{self._decision} was decided a moment ago")

    def take_over(self, trouble: DeliveryTrouble) -> None:
        """Be parked from the first moment on, as the run before was: decisions may come at once."""
        self._display.enter(GenerationState.PARKED, parked=trouble)

    async def _try(
        self, task: DeliverTask, before: DeliveryTrouble | None
    ) -> DeliveryTrouble | None:
        """One round of tries; what is in the way, None when Odoo has taken it."""
        trouble = None
        try:
            await workflow.execute_activity(
                names.DELIVER_ACTIVITY,
                task,
                result_type=Delivered,
                start_to_close_timeout=options.DELIVER_TIMEOUT,
                heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
                retry_policy=options.ODOO_RETRY,
                summary=f"tell {task.odoo}: {task.outcome.state}",
            )
        except ActivityError as error:
            trouble = _trouble(error, before)
            self._park(trouble)
        self._rounds += 1
        return trouble

    def _park(self, trouble: DeliveryTrouble) -> None:
        self.was_parked = True
        self._display.enter(GenerationState.PARKED, parked=trouble)
        self._display.publish(ERROR_CODE.value_set(trouble.code))
        workflow.upsert_memo({names.PARKED_MEMO: trouble})

    async def _may_renew(self) -> bool:
        """Whether the history is long, and nobody waits for an answer from this run."""
        if workflow.info().get_current_history_length() <= options.LONG_HISTORY_EVENTS:
            return False
        # Without a limit: a handler waits for a try, which comes when there is a decision.
        await workflow.wait_condition(
            lambda: workflow.all_handlers_finished() or self._decision is not None
        )
        return self._decision is None

    async def _wait(self, trouble: DeliveryTrouble) -> None:
        """Until the next try that was shown, also by the run before this one; or a decision."""
        shown = trouble.next_try and datetime.fromisoformat(trouble.next_try)
        pause = shown - workflow.now() if shown else timedelta(0)
        if pause <= timedelta(0) or self._decision:
            return
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._decision is not None,
                timeout=pause,
                timeout_summary="parked: next try",
            )


def _trouble(error: ActivityError, before: DeliveryTrouble | None) -> DeliveryTrouble:
    cause, now = error.cause, workflow.now()
    attempts = before.attempts + 1 if before else 1
    return DeliveryTrouble(
        code=(cause.type if isinstance(cause, ApplicationError) else None)
        or DeliveryError.ODOO_UNAVAILABLE,
        detail=message_of(cause or error),
        attempts=attempts,
        since=(before and before.since) or now.isoformat(timespec="seconds"),
        next_try=(now + options.park_pause(attempts)).isoformat(timespec="seconds"),
    )
