"""The servers that most tests share: one embedded stack a session, without worker and gateway."""

from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from deploy.local.stack.local_stack import LocalStack
from tests.lab import Lab, working
from workers.settings import Settings

# An example's time says more about the machine than about the code: it fails no test.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Temporal, SeaweedFS and the two sandboxes."""
    parts = ("temporal", "store", "images", "odoo")
    with LocalStack(tmp_path_factory.mktemp("stack"), parts) as running:
        yield running


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    """The stack's settings file, as a worker reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURAGEN_CONFIG", str(stack.config_path))
        return Settings.read()


@pytest.fixture(scope="session")
async def client(stack: LocalStack) -> Client:
    """A client of the stack's Temporal server."""
    return await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)


@pytest.fixture
async def lab(stack: LocalStack, client: Client) -> AsyncIterator[Lab]:
    """Clients of everything, and the sandboxes in good health."""
    async with Lab.open(stack, client) as opened:
        yield opened


@pytest.fixture
async def worker(lab: Lab, client: Client, settings: Settings) -> AsyncIterator[None]:
    """A worker on all queues, in this process; it begins with the lab's closed circuits."""
    async with working(client, settings):
        yield
