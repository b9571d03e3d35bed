"""The gate before an Odoo: when it looks, what a look costs, what is reported."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    StartWorkflowInput,
    WorkflowHandle,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from activities.errors import OdooAwayError
from activities.odoo.gate import OdooGates
from contracts.names import GENERATION_QUEUE
from contracts.odoo_health import OdooHealthRules
from tests.starter.entry_points import fresh_namespace
from workflows.odoo_health import OdooHealth

ODOO = "http://odoo.example.com"
THRESHOLD = OdooHealthRules().failures_in_a_row


class _Counting(Interceptor):
    """The SDK's own seam: counts what is asked of the server."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002  # the base class's name
        """Wrap the client's calls."""
        return _Outbound(next, self.calls)


class _Outbound(OutboundInterceptor):
    def __init__(self, next_: OutboundInterceptor, calls: Counter[str]) -> None:
        super().__init__(next_)
        self._calls = calls

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002  # as above
        self._calls["query"] += 1
        return await super().query_workflow(input)

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002  # as above
        self._calls["report"] += 1
        return await super().start_workflow(input)


@pytest.fixture
async def temporal(stack: Any) -> AsyncIterator[tuple[Client, Counter[str]]]:
    """A namespace of its own, with a worker for the health workflow; and what was asked."""
    namespace = await fresh_namespace(stack.temporal_address)
    counting = _Counting()
    client = await Client.connect(
        stack.temporal_address,
        namespace=namespace.namespace,
        data_converter=pydantic_data_converter,
        interceptors=[counting],
    )
    async with Worker(client, task_queue=GENERATION_QUEUE, workflows=[OdooHealth]):
        yield client, counting.calls


@asynccontextmanager
async def gates_of(client: Client) -> AsyncIterator[OdooGates]:
    """Those of one process."""
    gates = OdooGates([ODOO])
    async with gates.watching(client):
        yield gates


async def away(gates: OdooGates, *, asked: bool = False) -> bool:
    """Whether a delivery is held."""
    try:
        await gates.pass_through(ODOO, asked=asked)
    except OdooAwayError:
        return True
    return False


def failing(gates: OdooGates, times: int) -> None:
    """So many deliveries in a row."""
    for _ in range(times):
        gates.failed(ODOO, "answered 503")


async def test_all_is_well(temporal: tuple[Client, Counter[str]]) -> None:
    """A process looks once; then deliveries and refusals cost nothing at the server."""
    client, calls = temporal
    async with gates_of(client) as gates:
        for _ in range(100):
            assert not await away(gates)
            gates.answered(ODOO)
    assert calls == {"query": 1}


async def test_its_own_streak_closes_it_at_once(temporal: tuple[Client, Counter[str]]) -> None:
    """No report was due yet: the delivery after the threshold is held all the same."""
    client, _ = temporal
    async with gates_of(client) as gates:
        failing(gates, THRESHOLD - 1)
        assert not await away(gates)
        failing(gates, 1)
        assert await away(gates)


async def test_an_answer_ends_the_streak(temporal: tuple[Client, Counter[str]]) -> None:
    """Seven failures, a refusal, seven failures: nothing is known against this Odoo."""
    client, _ = temporal
    async with gates_of(client) as gates:
        for _ in range(4):
            failing(gates, THRESHOLD - 1)
            gates.answered(ODOO)
        assert not await away(gates, asked=True)


async def test_another_process_learns_of_it(temporal: tuple[Client, Counter[str]]) -> None:
    """One that begins during the outage holds its very first delivery."""
    client, _ = temporal
    async with gates_of(client) as gates:
        failing(gates, THRESHOLD)
        assert await away(gates)
    async with gates_of(client) as fresh:
        assert await away(fresh)


async def test_the_streaks_of_processes_add_up(temporal: tuple[Client, Counter[str]]) -> None:
    """Half of the threshold in each of two: their reports say that it is away."""
    client, _ = temporal
    async with gates_of(client) as one, gates_of(client) as other:
        failing(one, THRESHOLD // 2)
        failing(other, THRESHOLD - THRESHOLD // 2)
    async with gates_of(client) as fresh:
        assert await away(fresh)


async def test_a_thousand_held_ones_share_a_look(temporal: tuple[Client, Counter[str]]) -> None:
    """Also those that somebody asks for: they wait for the look that begins after all of them."""
    client, calls = temporal
    async with gates_of(client) as gates:
        failing(gates, THRESHOLD)
        assert await away(gates)
        calls.clear()
        found = await asyncio.gather(*(away(gates, asked=True) for _ in range(1_000)))
        assert all(found)
        assert calls["query"] <= 2


async def test_an_answer_to_one_process_counts_for_all(
    temporal: tuple[Client, Counter[str]],
) -> None:
    """One has seen nothing but failures, the other an answer: Odoo is not away."""
    client, _ = temporal
    async with gates_of(client) as one:
        failing(one, THRESHOLD - 1)
    async with gates_of(client) as other:
        assert not await away(other)
        other.answered(ODOO)
    async with gates_of(client) as one:
        failing(one, THRESHOLD - 1)
        assert not await away(one)
        failing(one, 1)
        assert await away(one)
