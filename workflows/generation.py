"""The lifecycle of one generation: plan, generate, deliver, announce."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.errors import ErrorCode, ErrorKind
    from contracts.events import RequestHead
    from contracts.generation import (
        MAX_DETAIL_CHARACTERS,
        Attempted,
        Delivered,
        DeliverTask,
        DeliveryDecision,
        Failure,
        GenerationState,
        GenerationView,
        Outcome,
        Parked,
        Plan,
        StoredImage,
    )
    from workflows import options
    from workflows.delivery import Delivery
    from workflows.display import ERROR_CODE, PROVIDER, Display
    from workflows.generate import failure_of, make_image
    from workflows.reading import read_request


@workflow.defn(name=names.GENERATION_WORKFLOW)
class Generation:
    """One generation, id `generation-{requestId}`.

    Completes with an Outcome when there is an image, or when the fault was the user's. Fails with
    the ErrorCode as its type when the fault was the system's or the settings', after Odoo has been
    told. Ends canceled when it was canceled before there was an image.
    """

    @workflow.init
    def __init__(self, event: Any, parked: Parked | None = None) -> None:
        # As JSON, and read here: input that cannot be decoded would be a workflow task that fails
        # for ever, and a request that nobody ever hears of again.
        self._head, self._request = read_request(event)
        self._display = Display()
        self._delivery = Delivery(self._display)
        if parked:
            self._delivery.take_over(parked.trouble)

    @workflow.run
    async def run(self, event: Any, parked: Parked | None = None) -> Outcome:
        """Carry EVT-AIG-001 from here to everybody who must know.

        `parked` is how a generation that has been parked for long goes on in a fresh history.
        """
        if parked:
            plan, outcome = parked.plan, parked.outcome
        else:
            plan = await shielded(self._plan())
            outcome = await self._generate(plan)
        delivered = await shielded(self._deliver(plan, outcome, parked))
        trouble = self._display.view.parked
        if not delivered and trouble:
            workflow.continue_as_new(
                args=[event, Parked(plan=plan, outcome=outcome, trouble=trouble)]
            )
        await shielded(self._announce(plan, outcome))
        return await self._close(plan, outcome)

    @workflow.query(name=names.STATUS_QUERY)
    def status(self) -> GenerationView:
        """State, progress, route and outcome, as they are now."""
        return self._display.view

    @workflow.update(name=names.RETRY_DELIVERY_UPDATE)
    async def retry_delivery(self, decision: DeliveryDecision) -> GenerationView:
        """Try a parked delivery now; answers when it was tried: `parked` says whether it still is.

        Refused unless the delivery is parked.
        """
        return await self._delivery.retry(decision)

    @workflow.update(name=names.ABANDON_DELIVERY_UPDATE)
    async def abandon_delivery(self, decision: DeliveryDecision) -> None:
        """Give a parked delivery up: Odoo will never be told. Refused unless it is parked."""
        self._delivery.abandon(decision)

    @retry_delivery.validator
    @abandon_delivery.validator
    def _only_when_parked(self, decision: DeliveryDecision) -> None:  # noqa: ARG002  # the update's
        self._delivery.refuse_unless_parked()

    async def _plan(self) -> Plan:
        self._display.enter(GenerationState.PLANNING)
        if self._head is None:
            return Plan()
        plan: Plan = await workflow.execute_local_activity(
            names.PLAN_ACTIVITY,
            self._head,
            result_type=Plan,
            start_to_close_timeout=options.PLAN_TIMEOUT,
        )
        return plan

    async def _generate(self, plan: Plan) -> Outcome:
        if plan.failure:
            return Outcome(failure=plan.failure)
        if isinstance(self._request, Failure):
            return Outcome(failure=self._request)
        deadline = workflow.now() + timedelta(seconds=plan.deadline_seconds)
        tried: list[Attempted] = []
        self._display.change(avoided=plan.avoided)
        for route in plan.routes:
            if tried and workflow.now() >= deadline:
                break
            self._display.enter(GenerationState.GENERATING, route=route)
            self._display.publish(PROVIDER.value_set(route.provider))
            try:
                made = await make_image(self._request, route, deadline)
            except (ActivityError, asyncio.CancelledError) as error:
                # Also raised when the worker drops this workflow from its cache; that is not ours.
                if workflow.cancellation_reason() is None or not is_cancelled_exception(error):
                    raise
                return _canceled("canceled while generating", tried)
            if isinstance(made, StoredImage):
                return Outcome(image=made, tried=tuple(tried))
            if workflow.cancellation_reason() is not None:
                return _canceled(f"canceled, and failed meanwhile: {made.detail}", tried)
            tried.append(Attempted(route=route, failure=made))
            if not made.rule.next_route:
                break
        return Outcome(failure=tried[-1].failure, tried=tuple(tried))

    async def _deliver(self, plan: Plan, outcome: Outcome, parked: Parked | None) -> bool:
        self._display.change(outcome=outcome)
        if not parked:
            self._display.enter(GenerationState.DELIVERING)
        if plan.odoo is None or self._head is None:
            return True  # nobody can be told; `_close` fails the workflow for it
        task = self._task(self._head, plan.odoo, outcome)
        return await self._delivery.deliver(task, parked.trouble if parked else None)

    async def _announce(self, plan: Plan, outcome: Outcome) -> None:
        if (
            not plan.notify
            or plan.odoo is None
            or self._head is None
            or self._display.view.abandoned
        ):
            return  # what Odoo does not know, nobody is told
        self._display.enter(GenerationState.ANNOUNCING)
        try:
            await workflow.execute_activity(
                names.NOTIFY_ACTIVITY,
                self._task(self._head, plan.odoo or "", outcome),
                result_type=Delivered,
                start_to_close_timeout=options.NOTIFY_TIMEOUT,
                heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
                retry_policy=options.NOTIFY_RETRY,
                summary="notify the user",
            )
        except ActivityError as error:
            # Odoo knows the outcome; a notification that fails is logged and fails nothing.
            workflow.logger.warning("the user was not notified: %s", failure_of(error).detail)

    async def _close(self, plan: Plan, outcome: Outcome) -> Outcome:
        failure = outcome.failure
        abandoned = self._display.view.abandoned
        self._display.enter(GenerationState.ABANDONED if abandoned else outcome.state)
        if failure:
            self._display.publish(ERROR_CODE.value_set(failure.code))
        elif self._delivery.was_parked:
            self._display.publish(ERROR_CODE.value_unset())  # the one it was parked with
        else:
            self._display.publish()
        await shielded(workflow.wait_condition(workflow.all_handlers_finished))
        if failure is None:
            return outcome
        if failure.code is ErrorCode.CANCELED:
            if workflow.cancellation_reason() is None:
                return outcome  # it was asked of the run before this one, whose history was renewed
            raise asyncio.CancelledError
        if failure.rule.kind is ErrorKind.USER and plan.odoo:
            return outcome
        workflow.upsert_memo({names.FAILURE_MEMO: failure})
        raise ApplicationError(failure.detail, outcome, type=failure.code, non_retryable=True)

    def _task(self, head: RequestHead, odoo: str, outcome: Outcome) -> DeliverTask:
        return DeliverTask(
            request_id=head.request_id,
            correlation_id=head.correlation_id,
            user_id=head.user_id,
            callback_url=head.callback_url,
            odoo=odoo,
            outcome=outcome,
        )


def _canceled(detail: str, tried: list[Attempted]) -> Outcome:
    failure = Failure(code=ErrorCode.CANCELED, detail=detail[:MAX_DETAIL_CHARACTERS])
    return Outcome(failure=failure, tried=tuple(tried))


async def shielded(step: Coroutine[Any, Any, Any]) -> Any:
    """Run a step that a cancellation must not interrupt: the outcome exists, others must know."""
    task = asyncio.create_task(step)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if workflow.cancellation_reason() is None or task.cancelled():
                raise
            if task.done():
                return task.result()
