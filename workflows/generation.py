"""The lifecycle of one generation: plan, generate, deliver, announce."""

import asyncio
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.errors import ErrorCode
    from contracts.generation import (
        Failure,
        GenerationState,
        GenerationView,
        Outcome,
        Parked,
        Plan,
        Route,
        Spooled,
    )
    from contracts.tasks import DeliverTask, DeliveryDecision, PlanTask, SpoolNews
    from workflows.announce import notify_user, publish_outcome
    from workflows.deadline import canceled_at, too_late
    from workflows.delivery import Delivery
    from workflows.display import ERROR_CODE, PROVIDER, progress_of, publish, show_details
    from workflows.generate import Making, make_plan
    from workflows.reading import owner_here, read_request
    from workflows.shielding import shielded
    from workflows.storing import Storing


@workflow.defn(name=names.GENERATION_WORKFLOW)
class Generation:
    """One generation, id `generation-{requestId}`.

    Completes with an Outcome when there is an image, or when the fault was the user's. Fails with
    the ErrorCode as its type when the fault was the system's or the settings', after Odoo has the
    outcome. Ends canceled when it was canceled before there was an image.
    """

    @workflow.init
    def __init__(self, event: Any, parked: Parked | None = None) -> None:
        # As JSON, and read here: input that cannot be decoded would be a workflow task that fails
        # for ever, and a request without an outcome.
        self._head, self._request = read_request(event)
        self._view = GenerationView(state=GenerationState.ACCEPTED, progress=0)
        self._delivery = Delivery(self._delivery_changed, parked.trouble if parked else None)
        self._making: Making | None = None
        self._storing = Storing()
        self._resumed = (parked.plan, parked.outcome) if parked else None
        if parked:
            self._delivery_changed()

    @workflow.run
    async def run(self, event: Any, parked: Parked | None = None) -> Outcome:  # noqa: ARG002  # taken over above
        """Carry EVT-AIG-001 from here to everybody who must know.

        `parked` is how a generation that was parked for long continues as new.
        """
        plan, outcome = self._resumed or await self._plan_and_generate()
        if not await shielded(self._deliver(plan, outcome)):
            self._continue_as_new(event, plan, outcome)
        # Odoo first: it books the credits, and a user who is notified looks there.
        await shielded(self._announce(plan, outcome))
        return await self._close(plan, outcome)

    @workflow.signal(name=names.SPOOL_NEWS_SIGNAL)
    def spool_news(self, news: SpoolNews) -> None:
        """The image that waited on a worker's disk is in the store, or it is lost."""
        self._storing.hears(news)

    @workflow.query(name=names.STATUS_QUERY)
    def status(self) -> GenerationView:
        """State, progress, route and outcome, as they are now."""
        return self._view

    @workflow.update(name=names.RETRY_DELIVERY_UPDATE)
    async def retry_delivery(self, decision: DeliveryDecision) -> GenerationView:
        """Try a parked delivery now; answers after the try: `parked` says whether it still is.

        Refused unless the delivery is parked, or just being tried again.
        """
        await self._delivery.retry(decision)
        return self._view

    @workflow.update(name=names.ABANDON_DELIVERY_UPDATE)
    async def abandon_delivery(self, decision: DeliveryDecision) -> None:
        """Give a parked delivery up: Odoo never gets the outcome. Refused unless it is parked."""
        self._delivery.abandon(decision)

    @retry_delivery.validator
    def _only_when_parked_once(self, decision: DeliveryDecision) -> None:
        tried_again = self._view.state is GenerationState.DELIVERING and self._delivery.was_parked
        if decision.trial or not tried_again:
            self._refuse_unless_parked()
        if decision.trial:
            self._delivery.refuse_second_decision()

    @abandon_delivery.validator
    def _only_when_parked(self, decision: DeliveryDecision) -> None:  # noqa: ARG002  # the update's
        self._refuse_unless_parked()
        self._delivery.refuse_second_decision()

    def _refuse_unless_parked(self) -> None:
        state = self._view.state
        if state is not GenerationState.PARKED:
            raise ValueError(f"the delivery is not parked; the generation is {state}")

    async def _plan_and_generate(self) -> tuple[Plan, Outcome]:
        plan = await shielded(self._plan())
        return plan, await self._generate(plan)

    async def _plan(self) -> Plan:
        self._enter(GenerationState.PLANNING)
        if self._head is None:
            return Plan()
        request = self._request
        asks = () if isinstance(request, Failure) else request.shaping_fields
        return await make_plan(PlanTask(head=self._head, asks=asks))

    async def _generate(self, plan: Plan) -> Outcome:
        if plan.failure:
            return Outcome(failure=plan.failure)
        if isinstance(self._request, Failure):
            return Outcome(failure=self._request)
        self._change(avoided=plan.avoided)
        head, deadline = self._head, self._request.deadline
        if head and deadline and deadline <= workflow.now():
            await shielded(canceled_at(deadline, head))
            return Outcome(failure=too_late())
        self._making = Making(self._request, plan, self, self._storing)
        if head is None or deadline is None:
            return await self._making.outcome()
        ending = asyncio.create_task(canceled_at(deadline, head))
        try:
            return await self._making.outcome()
        finally:
            ending.cancel()

    def enters_route(self, route: Route) -> None:
        """See `Steps`; the workflow shows where its making is."""
        self._enter(GenerationState.GENERATING, route=route)
        publish(GenerationState.GENERATING, PROVIDER.value_set(route.provider))

    def waits_for(self, what: str | None) -> None:
        """See `Steps`."""
        if what != self._view.waits_for:
            self._change(waits_for=what)

    def stores(self, spooled: Spooled) -> None:
        """See `Steps`."""
        self._enter(GenerationState.STORING, spooled=spooled)
        publish(GenerationState.STORING)

    async def _deliver(self, plan: Plan, outcome: Outcome) -> bool:
        """False when the workflow must continue as new; see `Delivery.deliver`."""
        self._change(outcome=outcome)
        task = self._task(plan, outcome)
        if task is None:
            return True
        return await self._delivery.deliver(task, plan.rules)

    def _continue_as_new(self, event: Any, plan: Plan, outcome: Outcome) -> NoReturn:
        trouble = self._delivery.trouble
        if trouble is None:
            raise AssertionError("only a parked delivery continues as new")
        workflow.continue_as_new(args=[event, Parked(plan=plan, outcome=outcome, trouble=trouble)])

    async def _announce(self, plan: Plan, outcome: Outcome) -> None:
        """Inform the others, unless Odoo does not have the outcome."""
        task = self._task(plan, outcome)
        if task is None or self._delivery.abandoned or not (plan.notify or plan.publish):
            return
        self._enter(GenerationState.ANNOUNCING)
        steps = [notify_user] * plan.notify + [publish_outcome] * plan.publish
        # Beside each other: one that is away holds up no other.
        await asyncio.gather(*(step(task) for step in steps))

    async def _close(self, plan: Plan, outcome: Outcome) -> Outcome:
        """The outcome becomes the workflow's own end."""
        failure = outcome.failure
        state = GenerationState.ABANDONED if self._delivery.abandoned else outcome.state
        self._enter(state)
        if failure:
            publish(state, ERROR_CODE.value_set(failure.code))
        elif self._delivery.was_parked:
            publish(state, ERROR_CODE.value_unset())  # the one it was parked with
        else:
            publish(state)
        await shielded(workflow.wait_condition(workflow.all_handlers_finished))
        if self._making:  # nobody waits for this but the workflow itself
            await shielded(self._making.stopped())
        if failure is None:
            return outcome
        if failure.code is ErrorCode.CANCELED:
            if workflow.cancellation_reason() is None:
                return outcome  # the run before this one was canceled, and continued as new
            # A canceled workflow has no result that could say it.
            if failure.perhaps_paid and workflow.patched("canceled-memo"):
                workflow.upsert_memo({names.FAILURE_MEMO: failure})
            raise asyncio.CancelledError
        if failure.code in plan.rules.users and plan.odoo:
            return outcome
        workflow.upsert_memo({names.FAILURE_MEMO: failure})
        raise ApplicationError(failure.detail, outcome, type=failure.code, non_retryable=True)

    def _task(self, plan: Plan, outcome: Outcome) -> DeliverTask | None:
        """What deliver and announce need; None when there is no Odoo that may have the outcome."""
        head = self._head
        if head is None or plan.odoo is None:
            return None
        return DeliverTask(
            request_id=head.request_id,
            correlation_id=head.correlation_id,
            user_id=head.user_id,
            callback_url=head.callback_url,
            odoo=plan.odoo,
            outcome=outcome,
            owner=owner_here(),
        )

    def _delivery_changed(self) -> None:
        trouble, abandoned = self._delivery.trouble, self._delivery.abandoned
        state = GenerationState.PARKED if trouble else GenerationState.DELIVERING
        self._enter(state, parked=trouble, abandoned=abandoned)

    def _enter(self, state: GenerationState, **changes: Any) -> None:
        """Be in another state, and show it."""
        gone = {"parked": None, "waits_for": None, "spooled": None}
        self._change(**{"state": state, "progress": progress_of(state), **gone, **changes})

    def _change(self, **changes: Any) -> None:
        self._view = self._view.model_copy(update=changes)
        show_details(self._view)
