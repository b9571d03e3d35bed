"""The lifecycle of one generation: plan, generate, deliver, announce."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate
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
        DeliveryTrouble,
        Failure,
        GenerationState,
        GenerationView,
        Outcome,
        Plan,
        StoredImage,
    )
    from workflows import options
    from workflows.details import details_of
    from workflows.making import failure_of, make_image, message_of
    from workflows.reading import read_request

_STATUS = SearchAttributeKey.for_keyword(names.GENERATION_STATUS)
_PROVIDER = SearchAttributeKey.for_keyword(names.PROVIDER)
_ERROR_CODE = SearchAttributeKey.for_keyword(names.ERROR_CODE)

_PROGRESS = {
    GenerationState.ACCEPTED: 0,
    GenerationState.PLANNING: 5,
    GenerationState.GENERATING: 10,
    GenerationState.DELIVERING: 80,
    GenerationState.PARKED: 80,
    GenerationState.ANNOUNCING: 95,
}


@workflow.defn(name=names.GENERATION_WORKFLOW)
class Generation:
    """One generation, id `generation-{requestId}`.

    Completes with an Outcome when there is an image, or when the fault was the user's. Fails with
    the ErrorCode as its type when the fault was the system's or the settings', after Odoo has been
    told. Ends canceled when it was canceled before there was an image.
    """

    @workflow.init
    def __init__(self, event: Any) -> None:
        # As JSON, and read here: input that cannot be decoded would be a workflow task that fails
        # for ever, and a request that nobody ever hears of again.
        self._head, self._request = read_request(event)
        self._view = GenerationView(state=GenerationState.ACCEPTED, progress=0)
        self._decision: str | None = None

    @workflow.run
    async def run(self, event: Any) -> Outcome:  # noqa: ARG002  # read when it came, above
        """Carry EVT-AIG-001 from here to everybody who must know."""
        plan = await _to_its_end(self._plan())
        outcome = await self._generate(plan)
        await _to_its_end(self._deliver(plan, outcome))
        await _to_its_end(self._announce(plan, outcome))
        return await self._close(plan, outcome)

    @workflow.query(name=names.STATUS_QUERY)
    def status(self) -> GenerationView:
        """State, progress, route and outcome, as they are now."""
        return self._view

    @workflow.update(name=names.RETRY_DELIVERY_UPDATE)
    async def retry_delivery(self, decision: DeliveryDecision) -> None:
        """Try a parked delivery now."""
        workflow.logger.info("delivery is tried again: %s %s", decision.by, decision.reason)
        self._decision = names.RETRY_DELIVERY_UPDATE

    @workflow.update(name=names.ABANDON_DELIVERY_UPDATE)
    async def abandon_delivery(self, decision: DeliveryDecision) -> None:
        """Give a parked delivery up: Odoo will never be told."""
        workflow.logger.warning("delivery is abandoned: %s %s", decision.by, decision.reason)
        self._decision = names.ABANDON_DELIVERY_UPDATE
        who = decision.by or "no name given"
        self._view = self._view.model_copy(update={"abandoned": f"{who}: {decision.reason}"})

    @retry_delivery.validator
    @abandon_delivery.validator
    def _only_when_parked(self, decision: DeliveryDecision) -> None:  # noqa: ARG002  # the update's
        if self._view.state is not GenerationState.PARKED:
            raise ValueError(f"the delivery is not parked; the generation is {self._view.state}")
        if self._decision:
            raise ValueError(f"{self._decision} was decided a moment ago")

    async def _plan(self) -> Plan:
        self._enter(GenerationState.PLANNING)
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
        for route in plan.routes:
            if tried and workflow.now() >= deadline:
                break
            self._enter(GenerationState.GENERATING, route=route)
            self._publish(_PROVIDER.value_set(route.provider))
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

    async def _deliver(self, plan: Plan, outcome: Outcome) -> None:
        self._enter(GenerationState.DELIVERING, outcome=outcome)
        if plan.odoo is None or self._head is None:
            return  # nobody can be told; `_close` fails the workflow for it
        pause = options.PARK_FIRST_PAUSE
        for rounds in count(1):
            trouble = await self._tell_odoo(self._task(self._head, plan.odoo, outcome))
            if trouble is None:
                return
            await self._park(trouble, rounds, pause)
            if self._decision == names.ABANDON_DELIVERY_UPDATE:
                return
            pause = min(pause * 2, options.PARK_LONGEST_PAUSE)
            self._enter(GenerationState.DELIVERING)

    async def _tell_odoo(self, task: DeliverTask) -> ActivityError | None:
        try:
            await workflow.execute_activity(
                names.DELIVER_ACTIVITY,
                task,
                result_type=Delivered,
                start_to_close_timeout=options.DELIVER_TIMEOUT,
                retry_policy=options.ODOO_RETRY,
                summary=f"tell {task.odoo}: {task.outcome.state}",
            )
        except ActivityError as error:
            return error
        return None

    async def _park(self, trouble: ActivityError, rounds: int, pause: timedelta) -> None:
        cause = trouble.cause
        self._decision = None
        self._enter(
            GenerationState.PARKED,
            parked=DeliveryTrouble(
                code=(cause.type if isinstance(cause, ApplicationError) else None) or "TIMEOUT",
                detail=message_of(cause or trouble),
                attempts=rounds,
                next_try=(workflow.now() + pause).isoformat(timespec="seconds"),
            ),
        )
        self._publish()
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._decision is not None,
                timeout=pause,
                timeout_summary="parked: next try",
            )

    async def _announce(self, plan: Plan, outcome: Outcome) -> None:
        if not plan.notify or plan.odoo is None or self._head is None or self._view.abandoned:
            return  # what Odoo does not know, nobody is told
        self._enter(GenerationState.ANNOUNCING)
        try:
            await workflow.execute_activity(
                names.NOTIFY_ACTIVITY,
                self._task(self._head, plan.odoo or "", outcome),
                result_type=Delivered,
                start_to_close_timeout=options.NOTIFY_TIMEOUT,
                retry_policy=options.NOTIFY_RETRY,
                summary="notify the user",
            )
        except ActivityError as error:
            # Odoo knows the outcome; a notification that fails is logged and fails nothing.
            workflow.logger.warning("the user was not notified: %s", failure_of(error).detail)

    async def _close(self, plan: Plan, outcome: Outcome) -> Outcome:
        self._enter(GenerationState.ABANDONED if self._view.abandoned else outcome.state)
        failure = outcome.failure
        self._publish(*([_ERROR_CODE.value_set(failure.code)] if failure else []))
        await _to_its_end(workflow.wait_condition(workflow.all_handlers_finished))
        if failure is None:
            return outcome
        if failure.code is ErrorCode.CANCELED:
            raise asyncio.CancelledError
        if failure.rule.kind is ErrorKind.USER and plan.odoo:
            return outcome
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

    def _enter(self, state: GenerationState, **changes: Any) -> None:
        progress = _PROGRESS.get(state, 100)
        parked = {} if state is GenerationState.PARKED else {"parked": None}
        self._view = self._view.model_copy(
            update={"state": state, "progress": progress, **parked, **changes}
        )
        workflow.set_current_details(details_of(self._view))

    def _publish(self, *more: SearchAttributeUpdate[str]) -> None:
        # One history event and one billable action each time: only what operators list by.
        workflow.upsert_search_attributes([_STATUS.value_set(self._view.state), *more])


def _canceled(detail: str, tried: list[Attempted]) -> Outcome:
    failure = Failure(code=ErrorCode.CANCELED, detail=detail[:MAX_DETAIL_CHARACTERS])
    return Outcome(failure=failure, tried=tuple(tried))


async def _to_its_end(step: Coroutine[Any, Any, Any]) -> Any:
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
