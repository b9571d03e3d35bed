"""The spool's own queue: oldest first, few tries in an outage, no image in another's place."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.spool import Label, Spool
from activities.spool_uploads import FEW, SpoolUploads
from activities.storage import ImageStore
from activities.store_ways import Ways
from contracts.generation import StoredImage
from contracts.names import GenerationId, erased_key
from deploy.local.stack.config import BUCKET
from deploy.local.stack.local_stack import LocalStack
from peers.store import StorageSettings
from tests.activities.http_peer import refusing_url
from tests.activities.odd_store import OddStore, odd_store
from workers.store_wiring import bucket_of

PNG = "png"


@pytest.fixture
def spool(tmp_path: Path, threads: ThreadPoolExecutor) -> Spool:
    """An empty one."""
    return Spool(tmp_path / "spool", 2**30, threads)


@pytest.fixture
def store() -> OddStore:
    """One that ignores the condition: the hardest one to be right with."""
    return OddStore(condition="ignored")


@pytest.fixture
async def url(store: OddStore) -> AsyncIterator[str]:
    """Where it listens."""
    async with odd_store(store) as peer:
        yield peer.url


@pytest.fixture
async def client(stack: LocalStack) -> Client:
    """Temporal, which knows none of these generations: they have ended long ago."""
    return await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)


def images(url: str, threads: ThreadPoolExecutor, *, conditional: bool = False) -> ImageStore:
    """The store at `url`, whose ways are known."""
    keys = {"access_key_id": "id", "secret_access_key": "secret"}
    where = StorageSettings.model_validate({"bucket": BUCKET, "endpoint_url": url, **keys})
    ways = Ways(checksums=True, conditional=conditional, hides_missing=False)
    return ImageStore(bucket_of(where, ways), threads, threads, put_seconds=0)


async def keep(spool: Spool, data: bytes, label: Label | None = None) -> Label:
    """Put an image into the spool."""
    request_id = label.request_id if label else uuid4()
    sha256 = hashlib.sha256(data).hexdigest()
    image = StoredImage(
        key=f"generations/{request_id}.png",
        format=PNG,
        size=len(data),
        width=1,
        height=1,
        sha256=sha256,
    )
    made = Label(request_id=request_id, correlation_id=uuid4(), digest="0" * 64, image=image)
    await spool.keep(made, data)
    return made


async def test_oldest_first(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """All files go to the store in the order in which they came, and are gone then."""
    labels = [await keep(spool, b"image %d" % number) for number in range(4)]
    assert await SpoolUploads(spool, images(url, threads)).upload_all(client)
    assert (await spool.held()).images == 0
    written = sorted(store.objects.items(), key=lambda item: item[1].at)
    assert [key.partition(".")[0] for key, _ in written] == [
        f"generations/{label.request_id}" for label in labels
    ]


async def test_outage_costs_few_tries(
    spool: Spool, threads: ThreadPoolExecutor, client: Client
) -> None:
    """However many images wait: a store that is away is asked a few times a round."""
    for number in range(10):
        await keep(spool, b"image %d" % number)
    asked: list[str] = []

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append("")
        writer.transport.abort()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    away = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        assert not await SpoolUploads(spool, images(away, threads)).upload_all(client)
    finally:
        server.close()
    assert len(asked) == FEW
    assert (await spool.held()).images == 10


async def test_an_erased_image_is_deleted_and_not_stored(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """`duragen erase` ran elsewhere while this disk had the image; the next one is stored."""
    erased, sound = await keep(spool, b"erased"), await keep(spool, b"sound")
    there = images(url, threads)
    await asyncio.to_thread(there._bucket.erase, GenerationId(erased.request_id, erased.owner))
    assert await SpoolUploads(spool, there).upload_all(client)
    assert (await spool.held()).images == 0
    kept = {key: data for key, data in store.images.items() if data}
    assert list(kept.values()) == [b"sound"]
    assert str(sound.request_id) in next(iter(kept))


@pytest.mark.parametrize("condition", ["kept", "ignored"])
async def test_an_image_that_comes_after_the_erasure_is_taken_back(
    spool: Spool,
    store: OddStore,
    url: str,
    threads: ThreadPoolExecutor,
    client: Client,
    condition: str,
) -> None:
    """`duragen erase` looked, marked and listed while the image was on its way."""
    store.condition = condition
    label = await keep(spool, b"erased")
    there = images(url, threads, conditional=condition == "kept")

    async def erase(_: str) -> None:
        store.meanwhile = None
        erasing = there._bucket.erase, GenerationId(label.request_id, label.owner)
        assert await asyncio.to_thread(*erasing) == []

    store.meanwhile = erase
    assert await SpoolUploads(spool, there).upload_all(client)
    assert (await spool.held()).images == 0
    assert list(store.images) == [erased_key(label.request_id)]


async def test_an_image_is_taken_back_also_when_the_store_goes_away_meanwhile(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """The worker could not look again when the image was put: the file waits, it looks later."""
    label = await keep(spool, b"erased")
    there = images(url, threads)
    mark = erased_key(label.request_id)

    async def erase(_: str) -> None:
        store.meanwhile = None
        await asyncio.to_thread(there._bucket.erase, GenerationId(label.request_id))
        store.forbidden = mark

    store.meanwhile = erase
    uploads = SpoolUploads(spool, there)
    assert not await uploads.upload_all(client)
    assert b"erased" in store.images.values()
    store.forbidden = ""
    assert await uploads.upload_all(client)
    assert (await spool.held()).images == 0
    assert list(store.images) == [mark]


async def test_one_that_is_refused_holds_up_no_other(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """What the store does not take comes last from then on: in the next round others are in."""
    stuck = [await keep(spool, b"stuck %d" % number) for number in range(FEW)]
    sound = [await keep(spool, b"sound %d" % number) for number in range(2)]
    store.refused = {str(label.request_id) for label in stuck}
    uploads = SpoolUploads(spool, images(url, threads))
    assert not await uploads.upload_all(client)
    assert not await uploads.upload_all(client)
    held = [await spool.read(path) for path in await spool.paths()]
    assert [each and each[0] for each in held] == stuck
    kept = {key.partition(".")[0] for key in store.images}
    assert kept == {f"generations/{label.request_id}" for label in sound}


async def test_an_outage_does_not_put_them_behind_for_ever(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """After an outage all were refused before: those that still are hold up no other."""
    stuck = [await keep(spool, b"stuck %d" % number) for number in range(FEW)]
    sound = [await keep(spool, b"sound %d" % number) for number in range(4)]
    uploads = SpoolUploads(spool, images(url, threads))
    store.refuses_writes = True
    for _ in range(4):
        assert not await uploads.upload_all(client)
    store.refuses_writes, store.refused = False, {str(label.request_id) for label in stuck}
    for _ in range(3):
        assert not await uploads.upload_all(client)
    kept = {key.partition(".")[0] for key in store.images}
    assert kept == {f"generations/{label.request_id}" for label in sound}


async def test_file_that_cannot_be_read_now(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """It stays where it is, holds up no other, and is stored when it can be read."""
    await keep(spool, b"unreadable")
    [path] = await spool.paths()
    whole = path.read_bytes()
    path.unlink()
    path.mkdir()  # root may read any file
    await keep(spool, b"another")
    uploads = SpoolUploads(spool, images(url, threads))
    assert not await uploads.upload_all(client)
    assert list(store.images.values()) == [b"another"]
    path.rmdir()
    path.write_bytes(whole)
    assert await uploads.upload_all(client)
    assert list(store.images.values()) == [b"another", b"unreadable"]


async def test_not_over_another_image(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """The request has an image by now: it stays, whatever a file brings, and however often."""
    first = await keep(spool, b"the first image")
    assert await SpoolUploads(spool, images(url, threads)).upload_all(client)
    before = dict(store.images)
    await keep(spool, b"a later image", first)
    both = (SpoolUploads(spool, images(url, threads)) for _ in range(2))
    assert all(await asyncio.gather(*(each.upload_all(client) for each in both)))
    assert store.images == before
    assert (await spool.held()).images == 0


async def test_two_processes_at_once(
    spool: Spool, store: OddStore, url: str, threads: ThreadPoolExecutor, client: Client
) -> None:
    """Two workers share a folder: each image is in the store once."""
    for number in range(6):
        await keep(spool, b"image %d" % number)
    both = (SpoolUploads(spool, images(url, threads)) for _ in range(2))
    await asyncio.gather(*(each.upload_all(client) for each in both))
    assert (await spool.held()).images == 0
    assert sorted(store.images.values()) == [b"image %d" % number for number in range(6)]


async def test_temporal_away(
    spool: Spool, url: str, threads: ThreadPoolExecutor, store: OddStore
) -> None:
    """An image whose workflow could not hear of it stays: it is said again later."""
    await keep(spool, b"an image")
    nobody = refusing_url().removeprefix("http://")
    client = await Client.connect(nobody, lazy=True, data_converter=pydantic_data_converter)
    uploads = SpoolUploads(spool, images(url, threads), signal_seconds=0.2)
    assert not await uploads.upload_all(client)
    assert len(store.images) == 1
    assert (await spool.held()).images == 1
