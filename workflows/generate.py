"""From the plan to the outcome: on each route submit, and collect when a job is the answer.

Two things are shared by the routes: the time until the deadline, and how many submissions may be
paid for without an image to show for it.
"""

import asyncio
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from contracts.errors import ErrorCode
    from contracts.events import GenerationRequested
    from contracts.generation import (
        MAX_DETAIL_CHARACTERS,
        Attempted,
        Failure,
        Outcome,
        Plan,
        Route,
        Spooled,
        StoredImage,
    )
    from contracts.tasks import CollectTask, FindTask, PlanTask, SubmitTask
    from workflows import options
    from workflows.calls import collect, is_cancellation, stop, submit, taken_back
    from workflows.reading import owner_here
    from workflows.shielding import shielded
    from workflows.signatures import Activities
    from workflows.storing import Storing


async def make_plan(task: PlanTask) -> Plan:
    """Routes, Odoo and deadline, as the settings say now."""
    return await workflow.execute_local_activity_method(
        Activities.plan, task, start_to_close_timeout=options.PLAN_TIMEOUT
    )


class _Limits(NamedTuple):
    """The time of one route: a call begins only while `least_seconds` of it are left."""

    end: datetime
    least_seconds: float

    @property
    def seconds(self) -> float:
        """What is left of it."""
        return (self.end - workflow.now()).total_seconds()


class _Ended(NamedTuple):
    """A submission without an image; `again` is how often one that ended so is made again."""

    failure: Failure
    again: int = 0
    had_job: bool = False

    @property
    def store_away(self) -> bool:
        """Nothing was begun, because the store is away; that is no fault of the route."""
        failure = self.failure
        return failure.code is ErrorCode.STORE_UNAVAILABLE and not failure.perhaps_paid


class Steps(Protocol):
    """Who shows where the making is."""

    def enters_route(self, route: Route) -> None:
        """It begins with this one."""

    def waits_for(self, what: str | None) -> None:
        """It cannot go on without this; None when it can."""

    def stores(self, spooled: Spooled) -> None:
        """The image is made, and on its way to the store."""


class Making:
    """One generation's way to its image."""

    def __init__(
        self, request: GenerationRequested, plan: Plan, steps: Steps, storing: Storing
    ) -> None:
        self._request = request
        self._plan = plan
        self._steps = steps
        self._storing = storing
        self._rules = plan.rules
        self._deadline = workflow.now() + timedelta(seconds=plan.deadline_seconds)
        self._owner = owner_here()
        self._perhaps_paid = 0
        self._stopping: list[asyncio.Task[None]] = []

    async def outcome(self) -> Outcome:
        """The image, or why no route has one."""
        tried: list[Attempted] = []
        for number, route in enumerate(self._plan.routes):
            routes_left = len(self._plan.routes) - number
            limits = self._limits(route, routes_left)
            if tried and limits.seconds < limits.least_seconds:
                continue
            self._steps.enters_route(route)
            made = await self._on_route(route, routes_left)
            if isinstance(made, StoredImage):
                return Outcome(image=made, tried=tuple(tried), ignored=route.ignores)
            if workflow.cancellation_reason() is not None:
                return self._canceled(made, tried)
            tried.append(Attempted(route=route, failure=made))
            if self._is_bound or made.code not in self._rules.next_route:
                break
        failure = tried[-1].failure.model_copy(update={"perhaps_paid": self._perhaps_paid})
        return Outcome(failure=failure, tried=tuple(tried))

    def _limits(self, route: Route, routes_left: int) -> _Limits:
        """Its own time, or an equal share of what is left.

        A call needs the service's own time, or a part of the share that every route has at first.
        """
        left = (self._deadline - workflow.now()).total_seconds()
        share = left / routes_left
        at_first = self._plan.deadline_seconds / len(self._plan.routes)
        if route.share_seconds is not None:
            share = min(route.share_seconds, left)
            at_first = min(route.share_seconds, at_first)
        least = min(route.timeout_seconds, at_first * self._rules.least_part)
        return _Limits(workflow.now() + timedelta(seconds=share), least)

    async def _on_route(self, route: Route, routes_left: int) -> StoredImage | Failure:
        """The image, or why this route has none; `perhaps_paid` is of this route alone."""
        limits = self._limits(route, routes_left)
        before, jobs, lost = self._perhaps_paid, 0, False
        number, waits = 0, 0
        while True:
            made = await self._one_job(route, jobs, limits, after_loss=lost)
            if isinstance(made, StoredImage):
                return made
            self._perhaps_paid += made.failure.perhaps_paid
            known = {"perhaps_paid": self._perhaps_paid - before}
            failure = made.failure.model_copy(update=known)
            if made.store_away:
                limits = self._limits(route, routes_left)  # the wait is not the route's
                # The last look leaves time for its answer, and for a call.
                spare = limits.seconds - limits.least_seconds
                spare -= self._rules.store_first_pause_seconds
                pause = min(self._store_pause(waits), spare)
                ends, waits = pause < 1, waits + 1
            else:
                pause = self._rules.new_job_pause_seconds
                ends = number >= made.again or self._goes_elsewhere(route, failure)
                ends = ends or limits.seconds - pause < limits.least_seconds
                number, waits = number + 1, 0
                lost = failure.worker_lost and made.failure.perhaps_paid > 0
                jobs += made.had_job
            if ends:
                return failure
            self._steps.waits_for(failure.detail if made.store_away else None)
            try:
                await workflow.sleep(pause, summary=f"again after {failure.code}")
            except asyncio.CancelledError as error:
                if is_cancellation(error):
                    return taken_back(failure.perhaps_paid)
            if made.store_away:
                limits = self._limits(route, routes_left)

    def _store_pause(self, waits: int) -> float:
        """Before the store is asked again; after so many pauses it is the longest one."""
        rules, doublings = self._rules, min(waits, 16)
        longest = rules.store_longest_pause_seconds
        return min(rules.store_first_pause_seconds * (1 << doublings), longest)

    async def _one_job(
        self, route: Route, number: int, limits: _Limits, *, after_loss: bool
    ) -> StoredImage | _Ended:
        """One submission and what comes of it; `after_loss` of one that was counted as paid."""
        if workflow.cancellation_reason() is not None:
            return _Ended(taken_back(0))  # nothing is paid for what was taken back before
        seconds = max(limits.seconds, 1)
        submitted = await submit(
            SubmitTask(
                request=self._request,
                route=route,
                number=number,
                seconds=seconds,
                least_seconds=min(limits.least_seconds, seconds),
                owner=self._owner,
            )
        )
        if isinstance(submitted, Failure):
            lost = submitted.repeatable or submitted.worker_lost
            return _Ended(submitted, self._rules.lost_calls if lost else 0)
        self._steps.waits_for(None)
        if image := submitted.image or submitted.spooled:
            return await self._kept(route, image)
        if submitted.recovered and after_loss:
            self._perhaps_paid -= 1
        if submitted.job is None:
            raise AssertionError("neither an image nor a job")
        task = CollectTask(request=self._request, route=route, job=submitted.job, owner=self._owner)
        made = await collect(task, lambda: limits.seconds)
        if not isinstance(made, Failure):
            return await self._kept(route, made)
        if task.job.stoppable:  # beside what follows, which must not wait for it
            self._stopping.append(asyncio.create_task(stop(task)))
        return _Ended(made, self._rules.new_jobs.get(made.code, 0), had_job=True)

    async def _kept(self, route: Route, image: StoredImage | Spooled) -> StoredImage | _Ended:
        """The image once it is in the store: it is made, so no cancellation takes it back."""
        if isinstance(image, StoredImage):
            return image
        self._steps.stores(image)
        task = FindTask(request=self._request, route=route, owner=self._owner)
        stored = await shielded(self._storing.ended(image, task, self._rules))
        return _Ended(stored) if isinstance(stored, Failure) else stored

    @property
    def _is_bound(self) -> bool:
        """No other submission may be paid for."""
        return self._perhaps_paid >= self._rules.most_perhaps_paid

    def _goes_elsewhere(self, route: Route, failure: Failure) -> bool:
        """Whether the one repetition, if there is one, is not this route's.

        Another route gets it, for this one has had its chance; unless our own worker was lost.
        """
        another = route is not self._plan.routes[-1]
        return self._is_bound or bool(failure.perhaps_paid and another and not failure.worker_lost)

    async def stopped(self) -> None:
        """Wait until the jobs that are no longer needed are stopped."""
        if self._stopping:
            await workflow.wait(self._stopping)

    def _canceled(self, made: Failure, tried: list[Attempted]) -> Outcome:
        detail = made.detail
        if made.code is not ErrorCode.CANCELED:
            detail = f"canceled, and failed meanwhile: {detail}"[:MAX_DETAIL_CHARACTERS]
        failure = Failure(code=ErrorCode.CANCELED, detail=detail, perhaps_paid=self._perhaps_paid)
        return Outcome(failure=failure, tried=tuple(tried))
