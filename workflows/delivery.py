"""Delivering an outcome to Odoo, however long it takes: retries, then parked until it is taken."""

import builtins
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    TimeoutError,  # noqa: A004  # the SDK's name for what the server cuts off
    TimeoutType,
)

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.errors import DeliveryError
    from contracts.generation import DeliveryTrouble, FlowRules, GenerationState
    from contracts.tasks import DeliverTask, DeliveryDecision
    from workflows import options
    from workflows.display import ERROR_CODE, publish
    from workflows.failures import message_of
    from workflows.signatures import Activities


class Delivery:
    """One outcome on its way to Odoo, and what operators decide about it meanwhile.

    `trouble` is what keeps it parked, None while it is tried and once Odoo has it. `changed` is
    called at each change, so that the workflow can show it. A generation that continues as new
    starts with the trouble it was parked with: decisions may come at once.
    """

    def __init__(self, changed: Callable[[], None], trouble: DeliveryTrouble | None) -> None:
        self._changed = changed
        self._decision: str | None = None
        self._trial = False
        self._rounds = 0
        self._try_parked_seconds: float | None = None
        self.trouble = trouble
        self.was_parked = False
        self.abandoned: str | None = None
        """Who gave the delivery up, and why."""

    async def deliver(self, task: DeliverTask, rules: FlowRules) -> bool:
        """True when Odoo has taken the outcome, or an operator has given the delivery up.

        False when the history has grown long: it is parked, and the workflow continues as new.
        """
        self._try_parked_seconds = rules.try_parked_seconds
        if self.trouble:
            self._park(self.trouble)
        else:
            await self._try(task)
        while self.trouble:
            if await self._may_continue_as_new(rules.long_history_events):
                return False
            await self._wait(self.trouble)
            if self.abandoned:
                return True
            asked, self._decision = self._decision is not None, None
            trial, self._trial = self._trial, False
            await self._try(task.model_copy(update={"asked": asked, "trial": trial}))
        return True

    async def retry(self, decision: DeliveryDecision) -> None:
        """Try a parked delivery now; returns after the try, or after the one that is under way."""
        workflow.logger.info("delivery is tried again: %s %s", decision.by, decision.reason)
        if self.trouble and self._decision is None:
            self._decision, self._trial = names.RETRY_DELIVERY_UPDATE, decision.trial
        this_round = self._rounds + 1
        await workflow.wait_condition(lambda: self._rounds >= this_round)

    def abandon(self, decision: DeliveryDecision) -> None:
        """Give a parked delivery up: Odoo never gets the outcome."""
        workflow.logger.warning("delivery is abandoned: %s %s", decision.by, decision.reason)
        self._decision = names.ABANDON_DELIVERY_UPDATE
        self.abandoned = f"{decision.by or 'no name given'}: {decision.reason}"
        self._changed()

    def refuse_second_decision(self) -> None:
        """Raise ValueError when a decision has not taken effect yet."""
        if self._decision:
            raise ValueError(f"{self._decision} was decided a moment ago")

    async def _try(self, task: DeliverTask) -> None:
        """One round of tries, after which Odoo has the outcome or it is parked."""
        before, self.trouble = self.trouble, None
        self._changed()
        try:
            await workflow.execute_activity_method(
                Activities.deliver,
                task,
                # One for each Odoo: one that hangs holds up no other.
                task_queue=names.odoo_queue(task.odoo),
                schedule_to_start_timeout=options.DELIVER_QUEUE_TIMEOUT,
                start_to_close_timeout=options.DELIVER_TIMEOUT,
                heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
                retry_policy=options.ONCE if task.trial else options.ODOO_RETRY,
                summary=f"{task.outcome.state} to {task.odoo}",
            )
        except ActivityError as error:
            self._park(self._rested(_trouble(error, task, before)))
        self._rounds += 1

    def _park(self, trouble: DeliveryTrouble) -> None:
        self.trouble, self.was_parked = trouble, True
        self._changed()
        publish(GenerationState.PARKED, ERROR_CODE.value_set(trouble.code))
        workflow.upsert_memo({names.PARKED_MEMO: trouble})

    def _rested(self, trouble: DeliveryTrouble) -> DeliveryTrouble:
        """The same without a next try, when it has been parked for as long as it may be tried."""
        if self._try_parked_seconds is None or trouble.since is None:
            return trouble
        end = datetime.fromisoformat(trouble.since) + timedelta(seconds=self._try_parked_seconds)
        if workflow.now() < end:
            return trouble
        return trouble.model_copy(update={"next_try": None, "rests": True})

    async def _may_continue_as_new(self, long_history_events: int) -> bool:
        """Whether the history is long, and no operator waits for an answer from this run."""
        if workflow.info().get_current_history_length() <= long_history_events:
            return False
        # Without a limit: a handler waits for a try, which comes when there is a decision.
        await workflow.wait_condition(
            lambda: workflow.all_handlers_finished() or self._decision is not None
        )
        return self._decision is None

    async def _wait(self, trouble: DeliveryTrouble) -> None:
        """Until the next try that was shown, also by the run before this one; or a decision."""
        if trouble.rests:
            await workflow.wait_condition(lambda: self._decision is not None)
            return
        shown = trouble.next_try and datetime.fromisoformat(trouble.next_try)
        pause = shown - workflow.now() if shown else timedelta(0)
        if pause <= timedelta(0) or self._decision:
            return
        with suppress(builtins.TimeoutError):
            await workflow.wait_condition(
                lambda: self._decision is not None,
                timeout=pause,
                timeout_summary="parked: next try",
            )


def _trouble(
    error: ActivityError, task: DeliverTask, before: DeliveryTrouble | None
) -> DeliveryTrouble:
    cause, now = error.cause, workflow.now()
    not_taken = isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START
    not_tried = isinstance(cause, ApplicationError) and any(cause.details)
    # What was not tried at all is no round of tries.
    attempts = (before.attempts if before else 0) + (0 if not_taken or not_tried else 1)
    # Thousands that come back each minute would keep the queue as long as it is.
    untaken = (before.not_taken if before else 0) + 1 if not_taken else 0
    # After a trial in vain Odoo is away, as before.
    held = not_tried or task.trial
    pause = options.HELD_PAUSE if held else options.park_pause(untaken or attempts)
    detail = message_of(cause or error)
    if not_taken:
        detail = f"no worker took it in time: has one {task.odoo} in its [[odoo]]? {detail}"
    return DeliveryTrouble(
        code=(cause.type if isinstance(cause, ApplicationError) else None)
        or DeliveryError.ODOO_UNAVAILABLE,
        detail=detail,
        attempts=attempts,
        not_taken=untaken,
        since=(before and before.since) or now.isoformat(timespec="seconds"),
        next_try=(now + pause).isoformat(timespec="seconds"),
        odoo=task.odoo,
        held=held,
    )
