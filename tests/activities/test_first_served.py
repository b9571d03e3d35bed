"""Thousands of generations wait on the queue of the workflows that watch: those come first."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.odoo.gate import OdooGates
from activities.provider_health import ProviderReports
from contracts.errors import ErrorCode
from contracts.generation import Failure
from contracts.names import GENERATION_QUEUE, HEALTH_QUERY, odoo_health_id, provider_health_id
from tests.starter.entry_points import fresh_namespace
from workflows.odoo_health import OdooHealth
from workflows.provider_health import ProviderHealth

MANY = 100
ODOO, PROVIDER = "http://odoo.example.com", "acme"


@workflow.defn(name="Waits")
class _Waits:
    """Stands for a generation."""

    served = 0

    @workflow.run
    async def run(self) -> None:
        """Until it is terminated."""
        _Waits.served += 1
        await workflow.wait_condition(lambda: False)


@pytest.fixture
async def client(stack: Any) -> AsyncIterator[Client]:
    """A namespace of its own, in which many wait and no worker is there."""
    namespace = (await fresh_namespace(stack.temporal_address)).namespace
    client = await Client.connect(
        stack.temporal_address, namespace=namespace, data_converter=pydantic_data_converter
    )
    for number in range(MANY):
        await client.start_workflow("Waits", id=f"waits-{number}", task_queue=GENERATION_QUEUE)
    yield client
    for number in range(MANY):
        await client.get_workflow_handle(f"waits-{number}").terminate()


async def _odoo_fails(client: Client) -> str:
    gates = OdooGates([ODOO])
    async with gates.watching(client):
        gates.failed(ODOO, "answered 503")
    return odoo_health_id(ODOO)


async def _provider_fails(client: Client) -> str:
    reports = ProviderReports()
    async with reports.reporting(client):
        reports.failed(PROVIDER, Failure(code=ErrorCode.PROVIDER_UNAVAILABLE, detail="503"))
    return provider_health_id(PROVIDER)


@pytest.mark.parametrize("fails", [_odoo_fails, _provider_fails])
async def test_health_is_known_before_those_who_wait_are_served(client: Client, fails: Any) -> None:
    """A report is taken, and a question is answered, after a handful of the tasks that wait."""
    health = client.get_workflow_handle(await fails(client))
    asking = asyncio.create_task(health.query(HEALTH_QUERY, rpc_timeout=timedelta(seconds=60)))
    _Waits.served = 0
    async with Worker(
        client,
        task_queue=GENERATION_QUEUE,
        workflows=[_Waits, OdooHealth, ProviderHealth],
        workflow_runner=UnsandboxedWorkflowRunner(),  # it counts
        max_concurrent_workflow_tasks=4,
    ):
        await asking
        assert _Waits.served < MANY / 2
