"""A worker process with a paid image on its disk is killed, or leaves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.generation import GenerationState
from deploy.local.stack.local_stack import LocalStack
from tests.lab import Lab
from tests.workers.worker_process import Launch, WorkerProcess
from tests.workflows.relay import Relay, Wire

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def store(stack: LocalStack) -> AsyncIterator[Relay]:
    """The stack's store behind a wire."""
    async with Relay(stack.s3_url) as relay:
        yield relay


async def counts(worker: WorkerProcess, images: int, size: int) -> None:
    """Until its health says so: a disk that is slow is counted later."""
    async with asyncio.timeout(100):
        wanted = {"images": images, "bytes": size, "lost": 0}
        while (await worker.answers("/health"))["spool"] != wanted:
            await asyncio.sleep(0.05)


async def test_no_end_of_a_process_loses_it(
    lab: Lab, launch: Launch, store: Relay, tmp_path: Path
) -> None:
    """Neither `kill -9` nor a short grace; a worker that has time stores it before it leaves."""
    folder = tmp_path / "spool"

    async def worker(grace: int) -> WorkerProcess:
        started = await launch(
            DURAGEN_STORAGE__ENDPOINT_URL=store.url,
            DURAGEN_WORKER__SPOOL_DIR=str(folder),
            DURAGEN_WORKER__GRACEFUL_SECONDS=str(grace),
        )
        await started.answers("/health/ready")
        return started

    killed = await worker(grace=0)
    await lab.outcome(lab.request())  # it knows the store now
    await counts(killed, 0, 0)
    store.wire = Wire.READS
    request = lab.request()
    handle = await lab.start(request)
    view = await lab.reaches(handle, GenerationState.STORING)
    [file] = folder.glob("*.image")
    await counts(killed, 1, file.stat().st_size)
    killed.process.kill()
    await killed.ends()

    short = await worker(grace=0)
    await counts(short, 1, file.stat().st_size)
    assert await short.leaves() == 0
    assert await short.says(lambda line: "images that are paid for stay" in line["message"])
    assert list(folder.glob("*.image")) == [file]

    last = await worker(grace=200)
    leaving = asyncio.create_task(last.leaves())
    await last.says(lambda line: "worker is leaving" in line["message"])
    store.wire = Wire.WHOLE
    assert await leaving == 0
    assert list(folder.iterdir()) == []

    await worker(grace=0)
    outcome = await handle.result()
    assert view.spooled
    assert outcome.image == view.spooled.image
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert [each["event"]["status"] for each in ledgers.deliveries] == ["completed"]
