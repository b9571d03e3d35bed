"""One RabbitMQ and one Temporal a session; names at the broker that are each test's own."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from temporalio.client import Client

from starter.client import AsyncDuragenClient
from tests.rabbitmq.broker import Broker
from tests.rabbitmq.server import RabbitServer
from tests.rabbitmq.world import World
from tests.starter.entry_points import temporal_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """The node; a test that kills it waits until it is back."""
    running = RabbitServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def broker(server: RabbitServer) -> Broker:
    """An exchange, a queue and dead letters of the test's own, once somebody declares them."""
    return Broker(server, uuid4().hex[:8])


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A whole Temporal server in memory, without a worker."""
    async with temporal_server() as environment:
        yield environment.client


@pytest.fixture
def client(temporal: Client) -> AsyncDuragenClient:
    """As the process `duragen rabbitmq` has it."""
    return AsyncDuragenClient(temporal.service_client.config.target_host, retry_seconds=())


@pytest.fixture(scope="session")
async def world(
    server: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A whole stack; tests leave it as it was."""
    async with World.opened(server, tmp_path_factory.mktemp("stack")) as opened:
        yield opened
