"""Real parts for the activities: SeaweedFS, the sandboxes, and peers that misbehave to order."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import pytest

from activities.providers.kubernetes.jobs import KubernetesJobs
from contracts.events import GenerationRequested
from contracts.tasks import CollectTask
from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.stack.local_stack import LocalStack
from otel.correlation import Correlation, bound
from tests.activities.http_peer import Peer, listening
from tests.activities.kube_calls import jobs_at, submission, submitted, waiting
from tests.activities.kube_server import Kube, kube_server
from workers.clients import Clients, open_clients
from workers.settings import Settings

CORRELATION_ID = UUID("4bf92f35-77b3-4da6-a3ce-929d0e0e4736")


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """SeaweedFS, the sandbox image service, the sandbox Odoo."""
    home = tmp_path_factory.mktemp("parts")
    with LocalStack(home, parts=("store", "images", "odoo")) as running:
        yield running


@pytest.fixture(scope="session")
def worker_settings(parts: LocalStack) -> Settings:
    """The settings that a worker of these parts would read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURAGEN_CONFIG", str(parts.config_path))
        return Settings.read()


@pytest.fixture(scope="session")
async def clients(worker_settings: Settings) -> AsyncIterator[Clients]:
    """The clients that a worker of these parts would build."""
    async with open_clients(worker_settings, traced=False) as opened:
        yield opened


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For a store and a disk of a test's own."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client as `workers.clients` builds it, for tests that need no part."""
    timeout = httpx.Timeout(None, connect=5)
    async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
        yield client


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A peer to misbehave."""
    async with listening() as listener:
        yield listener


@pytest.fixture
async def foreign() -> AsyncIterator[Peer]:
    """A peer that must not be called."""
    async with listening() as listener:
        yield listener


@pytest.fixture
def asked() -> GenerationRequested:
    """A fresh request for a small image."""
    return GenerationRequested(
        request_id=uuid4(),
        correlation_id=CORRELATION_ID,
        user_id=uuid4(),
        prompt="A lighthouse at dusk",
        negative_prompt="people",
        model_id=OPENAI_MODEL_ID,
        resolution="128x96",
        aspect_ratio="4:3",
        seed=7,
        inference_steps=20,
        cfg_scale=6.5,
        callback_url="http://odoo.example.com/duragen/v1/callback",
    )


@pytest.fixture
def correlated(asked: GenerationRequested) -> Iterator[None]:
    """The ids of the request, bound as the worker's interceptor binds them."""
    with bound(Correlation(asked.correlation_id, asked.request_id)):
        yield


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of the size that `asked` asks for."""
    return paint(Picture("A lighthouse at dusk", 7, 128, 96))


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    """A cluster."""
    async with kube_server() as running:
        yield running


@pytest.fixture
async def service(kube: Kube, clients: Clients) -> AsyncIterator[KubernetesJobs]:
    """The Kubernetes adapter under test, whose watches and pauses would outlast any test."""
    async with jobs_at(kube.url, clients, watch_seconds=60, poll_seconds=3_600) as opened:
        yield opened


@pytest.fixture
async def task(service: KubernetesJobs, asked: GenerationRequested) -> CollectTask:
    """The wait for a Kubernetes Job that was just created."""
    submit_task = submission(asked)
    return waiting(submit_task, await submitted(service, submit_task))
