"""One generation through random sequences of what can happen to it, and what holds after each.

The sequences are the same in every run, so that a failure is a failure for everybody. For others:
`DURAGEN_STATEFUL_EXAMPLES=200 pytest tests/workflows/test_stateful.py`.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from temporalio.client import WorkflowUpdateStage
from temporalio.service import RPCError

from contracts.errors import ErrorCode, ErrorKind
from contracts.generation import GenerationState, Outcome
from contracts.names import ABANDON_DELIVERY_UPDATE, RETRY_DELIVERY_UPDATE
from contracts.tasks import DeliveryDecision
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.stack.config import TWO_ROUTES_MODEL_ID
from deploy.local.stack.local_stack import LocalStack
from starter.client import ConflictError
from tests.workflows.paying import complaint
from tests.workflows.relay import Wire
from tests.workflows.reservations import ended
from tests.workflows.world import FINAL, Seen, TrackedGeneration, World
from workers.settings import Settings

EXAMPLES = int(os.environ.get("DURAGEN_STATEFUL_EXAMPLES", "0"))
STEPS = 8

MODELS = {"openai": OPENAI_MODEL_ID, "flux": FLUX_MODEL_ID, "both": TWO_ROUTES_MODEL_ID}


def _status(status: int, **more: Any) -> dict[str, Any]:
    return {"kind": "status", "status": status, **more}


def taken_back(outcome: Outcome | None) -> bool:
    """Whether it was canceled when a paid call may have been under way: that is charged."""
    failure = outcome and outcome.failure
    return bool(failure and failure.code is ErrorCode.CANCELED and failure.perhaps_paid)


def _kinds(*kinds: str) -> dict[str, dict[str, Any]]:
    return {kind: {"kind": kind} for kind in kinds}


FAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "nothing was done": {
        "429": _status(429, headers={"retry-after": "2"}),
        "500": _status(500),
        "401": _status(401),
        "402": _status(402),
        "404": _status(404),
        **_kinds("close", "html", "empty"),
    },
    "done, and the reply is lost": _kinds("accept_then_reset"),
    "no image": _kinds("half_image", "wrong_size", "not_base64", "html_image", "empty_image"),
    "refused": _kinds("moderated_input", "moderated_output"),
    "a job in trouble": {
        "poll 503": _status(503, on="poll"),
        "poll lost": {"kind": "job_lost", "on": "poll"},
        "sample 500": _status(500, on="sample"),
        "sample half": {"kind": "half_image", "on": "sample"},
        **_kinds("error", "job_lost", "sample_expired"),
    },
}
FAULT = {name: fault for group in FAULTS.values() for name, fault in group.items()}
ODOO: dict[str, dict[str, Any]] = {
    "well": {},
    "503": {"status": 503},
    "404": {"status": 404},
    "html": {"html": True},
}
one_fault = st.one_of(*(st.sampled_from(sorted(group)) for group in FAULTS.values()))
faults = st.one_of(
    st.lists(one_fault, max_size=4),
    st.builds(lambda name, times: [name] * times, one_fault, st.integers(2, 4)),
)


class GenerationMachine(RuleBasedStateMachine):
    """Steps are what others do to a generation; between two of them it comes to rest."""

    world: World
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.story: TrackedGeneration | None = None
        self.before: Seen | None = None
        self.abandoned = False

    @initialize(
        model=st.sampled_from(sorted(MODELS)),
        image_service=faults,
        answers=st.sampled_from(sorted(ODOO)),
        wire=st.sampled_from(Wire),
        store_away=st.booleans(),
    )
    def begins(
        self, model: str, image_service: list[str], answers: str, wire: Wire, store_away: bool
    ) -> None:
        """A user asks for an image; the arguments say how the others behave at first."""
        self.image_service(image_service)
        self.odoo(answers, wire)
        self.store(store_away)
        self.story = self.runner.run(self.world.begin(MODELS[model]))

    @rule(next_calls=faults)
    def image_service(self, next_calls: list[str]) -> None:
        """What its next calls meet."""
        self.runner.run(self.world.lab.break_images(*(FAULT[name] for name in next_calls)))

    @rule(answers=st.sampled_from(sorted(ODOO)), wire=st.sampled_from(Wire))
    def odoo(self, answers: str, wire: Wire) -> None:
        """How it answers, and whether its answers arrive."""
        self.world.odoo.wire = wire
        self.runner.run(self.world.lab.break_odoo(**ODOO[answers]))

    @rule(away=st.booleans())
    def store(self, away: bool) -> None:
        """It is away, or back."""
        self.world.store.wire = Wire.CUT if away else Wire.WHOLE

    @rule(seconds=st.sampled_from([6, 70, 400]))
    def time_passes(self, seconds: float) -> None:
        """Not while a call may wait for the store: it does so for a minute of the real clock."""
        parked = self._seen.view.state is GenerationState.PARKED
        if self.world.store.wire is Wire.WHOLE or parked:
            self.runner.run(self.world.wait(self._story.handle, seconds))

    @rule(kind=st.sampled_from([RETRY_DELIVERY_UPDATE, ABANDON_DELIVERY_UPDATE]))
    def operator(self, kind: str) -> None:
        """Decides about the delivery: taken exactly when it is parked."""
        parked = self._seen.view.state is GenerationState.PARKED
        taken = self.runner.run(self._decided(kind))
        assert taken is parked, f"{kind} was {'taken' if taken else 'refused'}"
        self.abandoned |= taken and kind == ABANDON_DELIVERY_UPDATE

    @rule()
    def cancel(self) -> None:
        """The user takes it back: answered with True exactly while it is running."""
        running = self._seen.status not in FINAL
        asked = self.world.client.cancel(str(self._story.request.request_id))
        assert self.runner.run(asked) is running

    @rule(same=st.booleans())
    def starts_again(self, same: bool) -> None:
        """Odoo repeats itself: the same run answers; another payload is a conflict."""
        event = self._story.event if same else self._story.event | {"prompt": "a blue fox"}
        if same:
            assert not self.runner.run(self.world.client.start(event)).created
        else:
            with pytest.raises(ConflictError):
                self.runner.run(self.world.client.start(event))

    @invariant()
    def holds(self) -> None:
        """What must be so at any moment."""
        if self.story is None:
            return
        self.runner.run(self.story.rests())
        seen = self.runner.run(self.story.seen())
        outcome = seen.view.outcome
        note(f"  {seen.view.state}, Odoo: {seen.in_odoo}, {[c['outcome'] for c in seen.submits]}")
        assert not (wrong := complaint(seen.ledgers.calls)), wrong
        assert seen.entries[0] == "reserve"
        assert len(seen.entries) == (1 if seen.in_odoo == "requested" else 2)
        charged = seen.in_odoo == "completed" or (seen.in_odoo == "failed" and taken_back(outcome))
        assert ("capture" in seen.entries) is charged
        if seen.in_odoo != "requested":
            assert outcome, "Odoo knows an outcome that the generation does not"
            assert seen.in_odoo == ("completed" if outcome.image else "failed")
        if outcome and outcome.image:
            assert seen.image_stands, "the image that it is about is not there"
        assert len(seen.notified) <= 1
        assert len({each["webhook_id"] for each in seen.ledgers.deliveries}) <= 1
        self._nothing_goes_back(seen)
        self.before = seen

    def _nothing_goes_back(self, seen: Seen) -> None:
        before = self.before
        if before and before.view.outcome:
            assert seen.view.outcome == before.view.outcome, "the outcome has changed"
        if before and before.status in FINAL:
            assert seen.status is before.status
            assert seen.view == before.view
            assert seen.submits == before.submits, "called after it had ended"

    def teardown(self) -> None:
        """All is fixed: it must end, with the outcome in Odoo, unless an operator gave that up."""
        if self.story is not None:
            try:
                self.runner.run(self._must_end(self.story))
            finally:
                self.runner.run(self._leave(self.story))

    async def _must_end(self, story: TrackedGeneration) -> None:
        await self.world.repair()
        async with asyncio.timeout(100):
            await self.world.wait(story.handle)
        if self.abandoned:
            assert (await story.seen()).status in FINAL
            return
        word, ledgers = await ended(self.world.lab, story.request, story.handle)
        seen = await story.seen()
        assert not (wrong := complaint(ledgers.calls)), wrong
        outcome = seen.view.outcome
        assert outcome
        assert word in {"completed", "canceled", "refused", "failed"}
        users = outcome.failure and outcome.failure.rule.kind is ErrorKind.USER
        if outcome.failure and not users and not taken_back(outcome):
            assert "capture" not in seen.entries, "charged for a fault of ours"
        assert len(seen.notified) == 1

    async def _leave(self, story: TrackedGeneration) -> None:
        await self.world.lab.clear_faults()
        with suppress(RPCError):  # it has ended
            await story.handle.terminate("the next example begins")

    async def _decided(self, kind: str) -> bool:
        try:
            update = await self._story.handle.start_update(
                kind,
                DeliveryDecision(by="machine"),
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            )
        except RPCError:  # it has ended
            return False
        # One that is refused is over at once; one that is taken may wait for Odoo.
        known = update._known_outcome
        return known is None or not known.HasField("failure")

    @property
    def _story(self) -> TrackedGeneration:
        assert self.story
        return self.story

    @property
    def _seen(self) -> Seen:
        assert self.before
        return self.before


@pytest.fixture
def machine(
    stack: LocalStack, settings: Settings, caplog: pytest.LogCaptureFixture
) -> Iterator[type[GenerationMachine]]:
    """The machine in its world, on an event loop of its own that runs while a step does."""
    caplog.set_level(logging.CRITICAL)  # thousands of failures that are meant
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        around = AsyncExitStack()
        world = runner.run(around.enter_async_context(World.open(stack, settings)))
        yield type("Generation", (GenerationMachine,), {"world": world, "runner": runner})
        runner.run(around.aclose())


@pytest.mark.timeout(900)
def test_whatever_happens_the_ledger_is_right(machine: type[GenerationMachine]) -> None:
    """Nothing is lost, no image is paid twice, and Odoo gets the outcome in the end."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or 15,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not EXAMPLES,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
