"""The server whose clock jumps ahead, for what takes minutes and hours."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from contracts.names import SEARCH_ATTRIBUTES
from deploy.local.stack.local_stack import LocalStack
from tests.lab import Lab, working
from tests.workflows.alerting_peer import AlertLog, alertmanager
from workers.settings import Settings


@asynccontextmanager
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A fresh server with our search attributes.

    Its clock is an ordinary one until somebody waits: for a result, or in `environment.sleep`.
    """
    server = str(Path(sys.executable).parent / "temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=server, data_converter=pydantic_data_converter
    ) as environment:
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=environment.client.namespace,
                search_attributes=dict.fromkeys(SEARCH_ATTRIBUTES, keyword),
            )
        )
        yield environment


@pytest.fixture
async def skipping(stack: LocalStack) -> AsyncIterator[tuple[Lab, WorkflowEnvironment]]:
    """A lab on the time-skipping server, without a worker."""
    async with time_skipping() as environment, Lab.open(stack, environment.client) as lab:
        yield lab, environment


@pytest.fixture
async def timeless(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings
) -> AsyncIterator[tuple[Lab, WorkflowEnvironment]]:
    """The same with a worker."""
    lab, environment = skipping
    async with working(environment.client, settings):
        yield lab, environment


@pytest.fixture
async def alerts() -> AsyncIterator[AlertLog]:
    """A peer in Alertmanager's place."""
    async with alertmanager() as log:
        yield log
