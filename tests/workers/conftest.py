"""Workers as processes of their own, on the session's stack."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.local.stack.local_stack import LocalStack
from tests.workers.worker_process import Launch, WorkerProcess, environment, working_process


@pytest.fixture
async def launch(stack: LocalStack, tmp_path: Path) -> AsyncIterator[Launch]:
    """Start any number of workers; what still runs when the test ends is killed."""
    async with AsyncExitStack() as running:

        async def start(*options: str, **variables: str) -> WorkerProcess:
            env = environment(stack, **variables)
            return await running.enter_async_context(working_process(tmp_path, env, *options))

        yield start


@pytest.fixture(scope="session")
async def examined(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    """A stack and a worker where all is well: in the others' stack are parked deliveries."""
    folder = tmp_path_factory.mktemp("examined")
    with LocalStack(folder / "home", ("temporal", "store", "images", "odoo")) as stack:
        env = environment(stack, DURAGEN_NOTIFY__BASE_URL=stack.odoo_url)
        async with working_process(folder, env) as worker:
            await worker.answers("/health/ready")
            yield stack
