"""Paid bytes come into safety: into the store, else on the disk, else into the store once more."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from activities.bucket import Bucket
from activities.errors import ProviderError
from activities.images import MAX_IMAGE_BYTES
from activities.keeping import ImageKeeper
from activities.spool import Spool
from activities.storage import ImageStore
from activities.store_ways import Ways
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Spooled, StoredImage
from contracts.names import GenerationId, erased_key
from contracts.tasks import SubmitTask
from deploy.local.stack.config import BUCKET
from peers.store import StorageSettings
from tests.activities.http_peer import refusing_url
from tests.activities.odd_store import OddStore, odd_store
from tests.activities.provider_calls import submission
from tests.activities.stored_images import image_of
from tests.workflows.relay import Relay, Wire
from workers.store_wiring import bucket_of

LIKE_AMAZON = Ways(checksums=True, conditional=True, hides_missing=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The spool's."""
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path, threads: ThreadPoolExecutor) -> Spool:
    """An empty one, with room for one image of the largest size and a small one."""
    return Spool(folder, MAX_IMAGE_BYTES + 1_000, threads)


@pytest.fixture
def store() -> OddStore:
    """A sound one."""
    return OddStore()


@pytest.fixture
async def keeper(
    store: OddStore, spool: Spool, threads: ThreadPoolExecutor
) -> AsyncIterator[ImageKeeper]:
    """For this store and this spool."""
    async with odd_store(store) as peer:
        yield ImageKeeper(_store(peer.url, threads), spool)


@pytest.fixture
def task(asked: GenerationRequested) -> SubmitTask:
    """A submission."""
    return submission(asked)


def _store(
    url: str, threads: ThreadPoolExecutor, here: ThreadPoolExecutor | None = None, **limits: float
) -> ImageStore:
    return ImageStore(_bucket(url), threads, here or threads, put_seconds=0, **limits)


def _bucket(url: str) -> Bucket:
    keys = {"access_key_id": "id", "secret_access_key": "secret"}
    where = StorageSettings.model_validate({"bucket": BUCKET, "endpoint_url": url, **keys})
    return bucket_of(where, LIKE_AMAZON)


async def test_into_the_store(
    keeper: ImageKeeper, store: OddStore, spool: Spool, task: SubmitTask, picture: bytes
) -> None:
    """While all is well nothing touches the disk."""
    kept = await keeper.keep(task, picture)
    assert isinstance(kept, StoredImage)
    assert store.images == {kept.key: picture}
    assert (await spool.held()).images == 0
    assert await keeper.find(task) == kept


async def test_store_that_refuses(
    keeper: ImageKeeper, store: OddStore, spool: Spool, task: SubmitTask, picture: bytes
) -> None:
    """A store that answers look-ups and takes nothing costs no image: it is on the disk."""
    store.refuses_writes = True
    kept = await keeper.keep(task, picture)
    assert isinstance(kept, Spooled)
    assert kept.where == spool.where
    assert await keeper.find(task) == kept  # whoever submits again pays for nothing
    [path] = await spool.paths()
    read = await spool.read(path)
    assert read
    assert (read[0].wanted, read[1]) == (image_of(task.request), picture)


async def test_store_that_is_away(
    spool: Spool, threads: ThreadPoolExecutor, task: SubmitTask, picture: bytes
) -> None:
    """The same for one that nobody answers for."""
    keeper = ImageKeeper(_store(refusing_url(), threads), spool)
    assert isinstance(await keeper.keep(task, picture), Spooled)


async def test_an_image_that_nobody_waits_for_is_not_kept_of_an_erased_one(
    store: OddStore, spool: Spool, task: SubmitTask, picture: bytes
) -> None:
    """Canceled while its image was on its way, ended, erased: what then comes is deleted."""
    on_its_way, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_: str) -> None:
        store.meanwhile = None
        on_its_way.set()
        await go_on.wait()

    store.meanwhile = hold
    async with odd_store(store) as peer:
        calls = ThreadPoolExecutor()
        keeping = asyncio.create_task(
            ImageKeeper(_store(peer.url, calls), spool).keep(task, picture)
        )
        await on_its_way.wait()
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
        wanted = image_of(task.request)
        bucket = _bucket(peer.url)
        assert await asyncio.to_thread(bucket.erase, GenerationId(wanted.request_id)) == []
        go_on.set()
        await asyncio.to_thread(calls.shutdown)
    assert list(store.images) == [erased_key(wanted.request_id)]


async def test_no_request_more_while_all_is_well(
    keeper: ImageKeeper, store: OddStore, task: SubmitTask, picture: bytes
) -> None:
    """Whether a generation was erased is asked only of what nobody waits for."""
    kept = await keeper.keep(task, picture)
    assert isinstance(kept, StoredImage)
    assert store.requests == [f"PUT {kept.key}"]


async def test_store_that_hangs(spool: Spool, task: SubmitTask, picture: bytes) -> None:
    """It takes connections and never answers: nobody waits for ever, images are on the disk."""
    with ThreadPoolExecutor(2) as calls, ThreadPoolExecutor(2) as here:
        async with Relay("127.0.0.1:1") as wire:
            wire.wire = Wire.SILENT
            store = _store(wire.url, calls, here, look_limit_seconds=0.3, put_limit_seconds=0.3)
            keeper = ImageKeeper(store, spool)
            # More than there are threads: they wait for one.
            looks = (store.find(image_of(task.request)) for _ in range(8))
            for found in await asyncio.gather(*looks, return_exceptions=True):
                assert isinstance(found, ProviderError)
                assert found.failure.code is ErrorCode.STORE_UNAVAILABLE
                assert "has not answered within 0.3 s" in found.failure.detail
            assert isinstance(await keeper.keep(task, picture), Spooled)
        await asyncio.to_thread(calls.shutdown)  # beside the loop, which ends the connections


async def test_neither_takes_it(
    keeper: ImageKeeper, store: OddStore, folder: Path, task: SubmitTask, picture: bytes
) -> None:
    """Without the disk the store is asked once more; then the image is lost, and that is said."""
    store.refuses_writes = True
    folder.rmdir()
    with pytest.raises(ProviderError) as caught:
        await keeper.keep(task, picture)
    assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert store.requests == [f"PUT generations/{task.request.request_id}.png"] * 2


async def test_what_is_no_image(
    keeper: ImageKeeper, store: OddStore, spool: Spool, task: SubmitTask, picture: bytes
) -> None:
    """Neither store nor disk keeps what is no image."""
    store.refuses_writes = True
    with pytest.raises(ProviderError) as caught:
        await keeper.keep(task, picture[:100])
    assert caught.value.failure.code is ErrorCode.INVALID_OUTPUT
    assert (store.requests, (await spool.held()).images) == ([], 0)


async def test_full_disk(
    keeper: ImageKeeper, store: OddStore, task: SubmitTask, picture: bytes
) -> None:
    """Before money is spent: when the spool has no room for another image, none is paid for."""
    assert await keeper.find_before_paying(task) is None
    store.refuses_writes = True
    kept = await keeper.keep(task, picture)
    with pytest.raises(ProviderError, match=r"worker\.spool_bytes") as caught:
        await keeper.find_before_paying(_another(task))
    assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert await keeper.find_before_paying(task) == kept  # it needs no room


async def test_disk_that_is_gone(keeper: ImageKeeper, folder: Path, task: SubmitTask) -> None:
    """The same when somebody has taken the folder away."""
    folder.rmdir()
    with pytest.raises(ProviderError, match="or it is gone"):
        await keeper.find_before_paying(task)


def _another(task: SubmitTask) -> SubmitTask:
    request = task.request.model_copy(update={"request_id": uuid4()})
    return task.model_copy(update={"request": request})
