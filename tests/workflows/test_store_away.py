"""A store that is away, or refuses, costs nothing: nobody pays, and what is paid for is kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.bucket import ImageId
from activities.images import Wanted
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Failure, GenerationState, Outcome
from contracts.names import SPOOL_NEWS_SIGNAL
from contracts.tasks import SpoolNews
from tests.lab import Handle, Lab, working
from tests.workflows.relay import Relay, Wire
from workers.clients import open_clients
from workers.settings import GenerationSettings, Settings


class Scene(NamedTuple):
    """A lab whose worker reaches the store through a relay, and keeps images in a spool."""

    lab: Lab
    settings: Settings
    store: Relay
    spool: Path

    @property
    def files(self) -> list[Path]:
        """What is in the spool."""
        return sorted(self.spool.glob("*.image"))

    async def learned(self) -> None:
        """One generation while all is well: the worker knows the store."""
        await self.lab.outcome(self.lab.request())


@asynccontextmanager
async def _staged(lab: Lab, settings: Settings, folder: Path) -> AsyncIterator[Scene]:
    async with Relay(lab.stack.s3_url) as store:
        storage = settings.storage.model_copy(update={"endpoint_url": store.url})
        process = settings.worker.model_copy(update={"spool_dir": folder})
        through = settings.model_copy(update={"storage": storage, "worker": process})
        yield Scene(lab, through, store, folder)


@pytest.fixture
async def scene(lab: Lab, settings: Settings, tmp_path: Path) -> AsyncIterator[Scene]:
    """The same without a worker."""
    async with _staged(lab, settings, tmp_path / "spool") as staged:
        yield staged


@pytest.fixture
async def timeless_scene(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings, tmp_path: Path
) -> AsyncIterator[tuple[Scene, WorkflowEnvironment]]:
    """The same on the server whose clock jumps ahead, with a worker that knows the store."""
    lab, environment = skipping
    async with (
        _staged(lab, settings, tmp_path / "spool") as staged,
        working(lab.client, staged.settings),
    ):
        await staged.learned()
        yield staged, environment


async def _until_it_waits(lab: Lab, handle: Handle) -> str:
    async with asyncio.timeout(100):
        while not (waits_for := (await lab.view(handle)).waits_for):  # a query
            await asyncio.sleep(0.05)
    return waits_for


async def _failure(handle: Handle) -> tuple[str | None, int]:
    """Its code, and how many calls may have been paid for."""
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    failure = Outcome.model_validate(raised.value.cause.details[0]).failure
    assert failure
    return raised.value.cause.type, failure.perhaps_paid


async def _made(lab: Lab, request: GenerationRequested) -> tuple[int, list[str]]:
    """How often it was paid for, and what Odoo has of it."""
    ledgers = await lab.ledgers(request)
    return ledgers.paid, [each["event"]["status"] for each in ledgers.deliveries]


async def test_nothing_is_paid_meanwhile(scene: Scene) -> None:
    """Away before anything was paid: the generation says what it waits for, and completes later."""
    lab, store = scene.lab, scene.store
    store.wire = Wire.CUT
    request = lab.request()
    async with working(lab.client, scene.settings):
        handle = await lab.start(request)
        assert "the store (bucket" in await _until_it_waits(lab, handle)
        assert await _made(lab, request) == (0, [])
        store.wire = Wire.WHOLE
        assert (await handle.result()).state is GenerationState.COMPLETED
    assert await _made(lab, request) == (1, ["completed"])


async def test_until_the_deadline(scene: Scene) -> None:
    """A store that hangs and does not come back fails it: nothing is paid, nothing may be."""
    lab = scene.lab
    scene.store.wire = Wire.SILENT
    short = {"generation": GenerationSettings(deadline_seconds=30)}
    request = lab.two_routes_request()
    async with working(lab.client, scene.settings.model_copy(update=short)):
        code, perhaps_paid = await _failure(await lab.start(request))
    assert (code, perhaps_paid) == (ErrorCode.STORE_UNAVAILABLE, 0)
    assert await _made(lab, request) == (0, ["failed"])
    [delivery] = (await lab.ledgers(request)).deliveries
    assert delivery["event"]["mayHaveBeenPaid"] is False


@pytest.mark.parametrize("flux", [False, True], ids=["openai", "flux"])
async def test_paid_bytes_survive(scene: Scene, flux: bool) -> None:
    """The store refuses what was paid for: a restart and a cancellation cost nothing."""
    lab = scene.lab
    request = lab.flux_request() if flux else lab.request()
    async with working(lab.client, scene.settings):
        await scene.learned()
        scene.store.wire = Wire.READS
        handle = await lab.start(request)
        view = await lab.reaches(handle, GenerationState.STORING)
        assert view.spooled
        assert str(scene.spool) in view.spooled.where
    assert len(scene.files) == 1
    async with working(lab.client, scene.settings):
        await handle.cancel()
        await lab.reaches(handle, GenerationState.STORING)
        assert await _made(lab, request) == (1, [])
        scene.store.wire = Wire.WHOLE
        outcome = await handle.result()
    assert outcome.image == view.spooled.image
    assert await _made(lab, request) == (1, ["completed"])
    assert scene.files == []


async def test_job_that_was_paid_for(scene: Scene) -> None:
    """A job's image is fetched while the store is away: its link would not live for ever."""
    lab = scene.lab
    request = lab.flux_request()
    async with working(lab.client, scene.settings):
        await scene.learned()
        await lab.break_images(always={"kind": "status", "status": 503, "on": "poll"})
        handle = await lab.start(request)
        async with asyncio.timeout(100):
            while (await lab.ledgers(request)).paid == 0:
                await asyncio.sleep(0.02)
        scene.store.wire = Wire.CUT
        await lab.clear_faults()
        await lab.reaches(handle, GenerationState.STORING)
        scene.store.wire = Wire.WHOLE
        assert (await handle.result()).state is GenerationState.COMPLETED
    assert await _made(lab, request) == (1, ["completed"])


async def _storing(scene: Scene, request: GenerationRequested) -> tuple[Handle, Path]:
    """A generation whose image has gone to the disk, and its file."""
    scene.store.wire = Wire.READS
    handle = await scene.lab.start(request)
    await scene.lab.reaches(handle, GenerationState.STORING)
    [file] = scene.files
    return handle, file


async def _until_taken(scene: Scene) -> None:
    """Until nothing waits in the spool: before the clock of the server jumps ahead again."""
    async with asyncio.timeout(100):
        while scene.files:  # a folder
            await asyncio.sleep(0.05)


async def test_an_hour(timeless_scene: tuple[Scene, WorkflowEnvironment]) -> None:
    """No paid image is lost to an outage of an hour, which is longer than the deadline."""
    scene, environment = timeless_scene
    request = scene.lab.request()
    handle, _ = await _storing(scene, request)
    await environment.sleep(timedelta(hours=1))
    await scene.lab.reaches(handle, GenerationState.STORING)
    scene.store.wire = Wire.WHOLE
    await _until_taken(scene)
    assert (await handle.result()).state is GenerationState.COMPLETED
    assert await _made(scene.lab, request) == (1, ["completed"])


async def test_lost_for_good(timeless_scene: tuple[Scene, WorkflowEnvironment]) -> None:
    """A day without its disk: the image counts as lost, may have been paid for, and no more is."""
    scene, _ = timeless_scene
    request = scene.lab.two_routes_request()
    handle, file = await _storing(scene, request)
    file.unlink()
    assert await _failure(handle) == (ErrorCode.STORE_UNAVAILABLE, 1)
    assert await _made(scene.lab, request) == (1, ["failed"])
    [delivery] = (await scene.lab.ledgers(request)).deliveries
    assert delivery["event"]["mayHaveBeenPaid"] is True


async def test_news_of_other_bytes(timeless_scene: tuple[Scene, WorkflowEnvironment]) -> None:
    """What a run before has left on a disk, of whomever, is none of this run's image."""
    scene, _ = timeless_scene
    request = scene.lab.request()
    handle, file = await _storing(scene, request)
    lost = Failure(code=ErrorCode.STORE_UNAVAILABLE, detail="an older file", perhaps_paid=1)
    await handle.signal(SPOOL_NEWS_SIGNAL, SpoolNews(failure=lost, sha256="0" * 16))
    scene.store.wire = Wire.WHOLE
    await _until_taken(scene)
    outcome = await handle.result()
    assert outcome.image
    assert file.name == f"{request.request_id}.{outcome.image.sha256[:16]}.image"
    assert await _made(scene.lab, request) == (1, ["completed"])


async def test_damaged_file(timeless_scene: tuple[Scene, WorkflowEnvironment]) -> None:
    """A file that is no image any more is lost at once: nobody waits a day for it."""
    scene, _ = timeless_scene
    request = scene.lab.request()
    handle, file = await _storing(scene, request)
    file.write_bytes(file.read_bytes()[:-1])
    await _until_taken(scene)
    assert await _failure(handle) == (ErrorCode.STORE_UNAVAILABLE, 1)
    assert await _made(scene.lab, request) == (1, ["failed"])
    assert [each.suffix for each in scene.spool.iterdir()] == [".lost"]


async def test_worker_that_could_not_say_so(
    timeless_scene: tuple[Scene, WorkflowEnvironment], settings: Settings, tmp_path: Path
) -> None:
    """The image has come into the store, and the word of it was lost: the workflow looks itself."""
    scene, _ = timeless_scene
    request = scene.lab.request()
    handle, file = await _storing(scene, request)
    _, _, data = file.read_bytes().partition(b"\n")
    file.unlink()
    elsewhere = settings.worker.model_copy(update={"spool_dir": tmp_path / "other"})
    there = settings.model_copy(update={"worker": elsewhere})
    async with open_clients(there, traced=False) as clients:
        wanted = ImageId(request.request_id, request.image_digest, "png")
        image = await clients.store.verified(wanted, data, Wanted("png", request.size))
        await clients.store.put(image, wanted, data)
    outcome = await handle.result()
    assert outcome.image == image
    assert await _made(scene.lab, request) == (1, ["completed"])


async def test_same_id_for_another_user(
    timeless_scene: tuple[Scene, WorkflowEnvironment],
) -> None:
    """After retention an id may come again: another request gets a conflict, not the old image."""
    lab = timeless_scene[0].lab
    request = lab.request()
    await lab.outcome(request)
    other = lab.request(request_id=request.request_id)
    assert await _failure(await lab.start(other)) == (ErrorCode.CONFLICT, 0)
    assert (await lab.ledgers(other)).paid == 0
