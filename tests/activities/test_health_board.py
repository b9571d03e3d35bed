"""Which routes the planner prefers, as the providers' circuits say."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.provider_health import LOOK_SECONDS, CircuitBoard
from contracts.errors import ErrorCode
from contracts.generation import Route
from contracts.names import (
    GENERATION_QUEUE,
    PROVIDER_HEALTH_WORKFLOW,
    REPORT_SIGNAL,
    provider_health_id,
)
from contracts.provider_health import Circuit, ProviderHealthState, ProviderReport
from tests.lab import Lab
from tests.workflows.relay import Relay, Wire

pytestmark = pytest.mark.usefixtures("worker")

CLOSED, OPEN, HALF_OPEN = Circuit.CLOSED, Circuit.OPEN, Circuit.HALF_OPEN


class Circuits:
    """Providers A and B, in no settings: no worker probes them, no other test knows them."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.a, self.b = (f"acme-{uuid4().hex[:8]}" for _ in range(2))
        self.routes = tuple(Route(provider=name, model="any") for name in (self.a, self.b))
        self.handles: dict[str, WorkflowHandle[Any, Any]] = {}

    async def begin(self, a: Circuit, b: Circuit) -> None:
        """Start their health workflows."""
        for provider, circuit in ((self.a, a), (self.b, b)):
            self.handles[provider] = await self.client.start_workflow(
                PROVIDER_HEALTH_WORKFLOW,
                ProviderHealthState(
                    provider=provider,
                    circuit=circuit,
                    since=datetime.now(UTC).isoformat(),
                    opened_by=ErrorCode.QUOTA_EXHAUSTED,
                ),
                id=provider_health_id(provider),
                task_queue=GENERATION_QUEUE,
            )

    def order(self, board: CircuitBoard) -> str:
        """The next plan: letters in the order of its routes, those that are avoided in brackets."""
        routes, avoided = board.arranged(self.routes)
        letters = {self.a: "a", self.b: "b"}
        return "".join(
            f"({letters[route.provider]})" if route.provider in avoided else letters[route.provider]
            for route in routes
        )


@pytest.fixture
async def circuits(lab: Lab) -> AsyncIterator[Circuits]:
    """Ended after the test."""
    made = Circuits(lab.client)
    yield made
    for handle in made.handles.values():
        await handle.terminate("the test is over")


@asynccontextmanager
async def looking(circuits: Circuits, client: Client | None = None) -> AsyncIterator[CircuitBoard]:
    """A board that looks."""
    board = CircuitBoard([circuits.a, circuits.b])
    async with board.refreshing(client or circuits.client):
        yield board


async def _until(so: Callable[[], bool], within: float) -> None:
    async with asyncio.timeout(within):
        while not so():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        (OPEN, CLOSED, "b(a)"),
        (CLOSED, OPEN, "a(b)"),
        (HALF_OPEN, OPEN, "a(b)"),
        (OPEN, HALF_OPEN, "b(a)"),
    ],
)
async def test_an_open_circuit_is_put_last(
    circuits: Circuits, a: Circuit, b: Circuit, order: str
) -> None:
    """It is known within a look, and the plan says whom it avoids."""
    await circuits.begin(a, b)
    async with looking(circuits) as board:
        assert circuits.order(board) == "ab"  # no plan waits for the first look
        await _until(lambda: circuits.order(board) == order, within=LOOK_SECONDS)


async def test_routes_stay_as_they_are_when_all_circuits_are_open(circuits: Circuits) -> None:
    """One must be tried: in the settings' order, and the plan names none as avoided."""
    await circuits.begin(OPEN, OPEN)
    async with looking(circuits) as board:
        other = (Route(provider="other", model="any"),)
        both_known = other + circuits.routes
        await _until(lambda: board.arranged(circuits.routes + other)[0] == both_known, LOOK_SECONDS)
        assert circuits.order(board) == "ab"
        alone = circuits.routes[:1]
        assert board.arranged(alone) == (alone, ())


async def test_half_open_one_plan_a_look_goes_first(circuits: Circuits) -> None:
    """The others go on avoiding it: a failing try costs one generation in five seconds."""
    await circuits.begin(HALF_OPEN, CLOSED)
    async with looking(circuits) as board:
        await _until(lambda: circuits.order(board) == "b(a)", within=LOOK_SECONDS)
        plans = []
        async with asyncio.timeout(LOOK_SECONDS * 2):
            while "ab" not in plans:
                plans.append(circuits.order(board))
                await asyncio.sleep(0.05)
        plans += [circuits.order(board) for _ in range(50)]
    assert plans.count("ab") == 1
    assert set(plans) == {"ab", "b(a)"}


async def test_a_circuit_that_closes_is_used_again(circuits: Circuits) -> None:
    """After the success of a try, and after somebody ended the health workflow by hand."""
    await circuits.begin(HALF_OPEN, OPEN)
    await circuits.handles[circuits.a].signal(
        REPORT_SIGNAL, ProviderReport(works=True, successes=1)
    )
    async with looking(circuits) as board:
        await _until(lambda: circuits.order(board) == "a(b)", within=LOOK_SECONDS)
        await circuits.handles.pop(circuits.b).terminate("looked into")
        await _until(lambda: circuits.order(board) == "ab", within=LOOK_SECONDS * 2)


async def test_what_is_known_stays_while_temporal_is_away(lab: Lab, circuits: Circuits) -> None:
    """A look that fails changes nothing, and looking goes on when Temporal is back."""
    await circuits.begin(OPEN, CLOSED)
    async with Relay(lab.stack.temporal_address) as relay:
        client = await Client.connect(relay.address, data_converter=pydantic_data_converter)
        async with looking(circuits, client) as board:
            await _until(lambda: circuits.order(board) == "b(a)", within=LOOK_SECONDS)
            relay.wire = Wire.CUT
            await circuits.handles.pop(circuits.a).terminate("looked into")
            with pytest.raises(TimeoutError):
                await _until(lambda: circuits.order(board) != "b(a)", within=LOOK_SECONDS * 1.5)
            relay.wire = Wire.WHOLE
            await _until(lambda: circuits.order(board) == "ab", within=LOOK_SECONDS * 5)
