"""The servers that most tests share: one embedded stack a session, without worker and gateway."""

import os
import signal
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
from temporalio.client import Client

from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from peers import temporal
from tests.lab import Lab, working
from workers.settings import Settings

# An example's time says more about the machine than about the code: it fails no test.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

# A shell starts background jobs with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Every worker of a test, and every process that it starts, runs workflows where mistakes are found.
os.environ["DURAGEN_WORKER__SANDBOX"] = "true"

LONG_FILES = (
    *("workers/test_what_dies.py", "workers/test_crash.py", "workflows/test_odoo_health.py"),
    *("workflows/test_provider_health.py", "workflows/test_store_away.py", "deploy/test_wheel.py"),
    *("workflows/test_cancel_races.py", "starter/test_operations_rerun.py"),
    *("workflows/test_stateful.py", "starter/test_operator_commands.py"),
    *("starter/test_operations.py", "workflows/test_trouble.py", "workflows/test_continued.py"),
    *("workflows/test_kubernetes.py", "workflows/test_backlog_watch.py"),
    *("activities/test_health_board.py", "activities/test_health_reports.py"),
    *("starter/test_client_wheel.py", "workers/test_process.py", "workers/test_doctor.py"),
    *("workers/test_spool_process.py", "workflows/test_odoo_health_time.py"),
    *("workflows/test_encrypted.py", "workers/test_prompts_at_rest.py", "workers/test_erase.py"),
    *("workers/test_rotation.py", "starter/test_gateway_attacked.py"),
    *("activities/test_small_answers_that_explode.py", "starter/test_hostile_commands.py"),
)
"""Files that wait for 10 s and more in all, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each process of `make test` begins with its share of the long files.

    pytest-xdist gives each process a run of the list, and the rest to whichever is done first.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes == 1:
        return
    files: dict[str, list[pytest.Item]] = {name: [] for name in LONG_FILES}
    short: list[pytest.Item] = []
    for item in items:
        files.get("/".join(item.path.parts[-2:]), short).append(item)
    shares = [
        [item for file in list(files.values())[n::processes] for item in file]
        for n in range(processes)
    ]
    run = -(-len(items) // processes)
    at = 0
    items.clear()
    for share in shares:
        filled = at + max(run - len(share), 0)
        items += [*share, *short[at:filled]]
        at = filled
    items += short[at:]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Temporal, SeaweedFS and the two sandboxes."""
    parts = ("temporal", "store", "images", "odoo")
    folder, options = tmp_path_factory.mktemp("stack"), SandboxOptions(more_namespaces=True)
    with LocalStack(folder, parts, options=options) as running:
        yield running


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    """The stack's settings file, as a worker reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURAGEN_CONFIG", str(stack.config_path))
        return Settings.read()


@pytest.fixture(scope="session")
async def client(stack: LocalStack) -> Client:
    """A client of the stack's Temporal server, which encrypts when the environment has keys."""
    return await Client.connect(stack.temporal_address, data_converter=temporal.data_converter())


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
