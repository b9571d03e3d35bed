"""Fixtures of the entry points' tests: their own Temporal server, which no worker polls unasked."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client
from temporalio.contrib.opentelemetry import create_tracer_provider
from temporalio.testing import WorkflowEnvironment

from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient
from starter.gateway_client import GatewayClient
from tests.lab import Lab, working
from tests.starter.entry_points import KEY, fresh_namespace, serving, temporal_server
from tests.starter.entry_points import working as working_without_calls
from workers.settings import Settings


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """The module's Temporal server; no worker polls it unless the module asks for one."""
    async with temporal_server() as environment:
        yield environment


@pytest.fixture
def temporal(server: WorkflowEnvironment) -> Client:
    """The SDK's own client, to look behind ours."""
    return server.client


@pytest.fixture
def address(temporal: Client) -> str:
    """Where the server listens."""
    return temporal.service_client.config.target_host


@pytest.fixture
def client(address: str) -> AsyncDuragenClient:
    """Ours, without retries: a test that meets an outage should see it at once."""
    return AsyncDuragenClient(address, retry_seconds=())


@pytest.fixture(scope="module")
async def worker(server: WorkflowEnvironment) -> AsyncIterator[None]:
    """The real workflow on activities that make no call; the prompt says how it goes."""
    async with working_without_calls(server.client):
        yield


@pytest.fixture(scope="module")
async def gateway(server: WorkflowEnvironment) -> AsyncIterator[str]:
    """The gateway's URL."""
    async with serving(server.client.service_client.config.target_host) as url:
        yield url


@pytest.fixture
async def http(gateway: str) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with the right key."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=gateway, headers=headers) as caller:
        yield caller


@pytest.fixture
def caller(gateway: str) -> GatewayClient:
    """With the right key, without retries."""
    return GatewayClient(gateway, KEY, retry_seconds=())


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    """The spans of this process; the global provider can be set but once, so it is shared."""
    found = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not hasattr(provider, "add_span_processor"):
        # Temporal's own kind, so that tests of the worker can share it.
        provider = create_tracer_provider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(found))
    return found


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """None of an earlier test's spans."""
    exporter.clear()
    yield exporter
    exporter.clear()


@pytest.fixture
async def desk(stack: LocalStack) -> AsyncIterator[Lab]:
    """A lab in a namespace of its own: lists show what this test made, and nothing else."""
    async with Lab.open(stack, await fresh_namespace(stack.temporal_address)) as lab:
        yield lab


@pytest.fixture
async def desk_worker(desk: Lab, settings: Settings) -> AsyncIterator[None]:
    """The real worker, on the desk's server."""
    async with working(desk.client, settings):
        yield
