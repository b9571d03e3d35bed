"""Images in a real S3 store: found, kept once, linked."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from activities.errors import ProviderError
from activities.images import Wanted
from activities.storage import ImageStore
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.stack.config import BUCKET
from tests.activities.http_peer import Peer, answer, refusing_url
from workers.settings import Settings, StorageSettings
from workers.wiring import Clients, s3_client

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SIZE = (128, 96)
PEER_KEYS = {"access_key_id": "id", "secret_access_key": "secret"}


@pytest.fixture(scope="session")
def s3(worker_settings: Settings) -> "S3Client":
    """A client of the store that is not the one under test."""
    return s3_client(worker_settings.storage)


def objects_of(s3: "S3Client", request_id: UUID) -> list[str]:
    """The keys of all objects of a request."""
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"generations/{request_id}")
    return [item["Key"] for item in listed.get("Contents", [])]


def store_at(url: str, clients: Clients, **more: float) -> ImageStore:
    """A store at another endpoint."""
    where = StorageSettings.model_validate({"bucket": BUCKET, "endpoint_url": url, **PEER_KEYS})
    return ImageStore(s3_client(where), BUCKET, 600, clients.threads, **more)


async def test_keep_and_find(clients: Clients, picture: bytes) -> None:
    """What is kept is found again: key, format, size, width, height, checksum."""
    request_id = uuid4()
    assert await clients.store.find(request_id, "png") is None
    kept = await clients.store.keep(request_id, picture, Wanted("png", SIZE))
    assert kept.key == f"generations/{request_id}.png"
    assert (kept.format, kept.size, kept.width, kept.height) == ("png", len(picture), *SIZE)
    assert kept.sha256 == hashlib.sha256(picture).hexdigest()
    assert await clients.store.find(request_id, "png") == kept
    assert await clients.store.find(request_id, "webp") is None


async def test_object_as_others_see_it(clients: Clients, s3: "S3Client", picture: bytes) -> None:
    """The object says of itself what it is, for whoever else reads the bucket."""
    kept = await clients.store.keep(uuid4(), picture, Wanted("png", SIZE))
    stored = s3.get_object(Bucket=BUCKET, Key=kept.key)
    assert stored["Body"].read() == picture
    assert stored["ContentType"] == "image/png"
    facts = {"format": "png", "width": "128", "height": "96", "sha256": kept.sha256}
    assert stored["Metadata"] == facts


async def test_link(clients: Clients, http: httpx.AsyncClient, picture: bytes) -> None:
    """A link opens without any key, lives as long as the settings say, and only reads."""
    kept = await clients.store.keep(uuid4(), picture, Wanted("png", SIZE))
    link = await clients.store.link(kept)
    got = await http.get(link)
    assert (got.status_code, got.content) == (200, picture)
    assert (await http.delete(link)).status_code == 403
    assert (await http.get(link.partition("?")[0])).status_code == 403


async def test_second_writer(clients: Clients, s3: "S3Client", picture: bytes) -> None:
    """The first image of a request stays; a second writer is given the first one's reference."""
    request_id = uuid4()
    first = await clients.store.keep(request_id, picture, Wanted("png", SIZE))
    other = paint(Picture("another picture", 8, *SIZE))
    assert await clients.store.keep(request_id, other, Wanted("png", SIZE)) == first
    assert s3.get_object(Bucket=BUCKET, Key=first.key)["Body"].read() == picture
    assert objects_of(s3, request_id) == [first.key]


async def test_writers_at_once(clients: Clients, s3: "S3Client") -> None:
    """Of eight writers at once one wins, and all are given what really stands there."""
    request_id = uuid4()
    pictures = [paint(Picture("a race", seed, *SIZE)) for seed in range(8)]
    kept = await asyncio.gather(
        *(clients.store.keep(request_id, data, Wanted("png", SIZE)) for data in pictures)
    )
    stored = s3.get_object(Bucket=BUCKET, Key=kept[0].key)["Body"].read()
    assert {image.sha256 for image in kept} == {hashlib.sha256(stored).hexdigest()}
    assert objects_of(s3, request_id) == [kept[0].key]


async def test_no_image_is_not_kept(clients: Clients, s3: "S3Client", picture: bytes) -> None:
    """What is no image never reaches the store."""
    request_id = uuid4()
    with pytest.raises(ProviderError) as caught:
        await clients.store.keep(request_id, picture[: len(picture) // 2], Wanted("png", SIZE))
    assert caught.value.failure.code is ErrorCode.INVALID_OUTPUT
    assert objects_of(s3, request_id) == []


async def test_foreign_object(clients: Clients, s3: "S3Client", picture: bytes) -> None:
    """An object that we did not write is neither taken for ours nor overwritten."""
    request_id = uuid4()
    key = f"generations/{request_id}.png"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"somebody else's")
    for call in (
        clients.store.find(request_id, "png"),
        clients.store.keep(request_id, picture, Wanted("png", SIZE)),
    ):
        with pytest.raises(ProviderError, match="was not written by Duragen") as caught:
            await call
        assert caught.value.failure.code is ErrorCode.INTERNAL
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"somebody else's"


@asynccontextmanager
async def flipping(port: int, marker: bytes) -> AsyncIterator[str]:
    """A way to the store on `port` on which one byte after `marker` changes."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            at = data.find(marker) + len(marker)
            if at >= len(marker):
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            sink.write(data)
        sink.close()

    open_ends: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        open_ends.extend((ours, writer))
        await asyncio.gather(pump(reader, ours), pump(theirs, writer))

    server = await asyncio.start_server(pipe, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for end in open_ends:
            end.close()


async def test_byte_that_changes_on_the_way(
    worker_settings: Settings, clients: Clients, s3: "S3Client", picture: bytes
) -> None:
    """A byte that changes on the way is noticed by the store, and nothing is kept."""
    request_id = uuid4()
    port = urlsplit(worker_settings.storage.endpoint_url or "").port or 0
    async with flipping(port, picture[600:640]) as url:
        there = worker_settings.storage.model_copy(update={"endpoint_url": url})
        store = ImageStore(s3_client(there), BUCKET, 600, clients.threads)
        with pytest.raises(ProviderError) as caught:
            await store.keep(request_id, picture, Wanted("png", SIZE))
    assert caught.value.failure.code is ErrorCode.INTERNAL
    assert objects_of(s3, request_id) == []


@pytest.mark.parametrize("status", [409, 412])
async def test_race_that_left_nothing(
    clients: Clients, peer: Peer, picture: bytes, status: int
) -> None:
    """A lost race after which no image stands there is run again: the image was paid for."""
    peer.says(answer(status), answer(404), answer(200))
    kept = await store_at(peer.url, clients).keep(uuid4(), picture, Wanted("png", SIZE))
    assert [received.method for received in peer.received] == ["PUT", "HEAD", "PUT"]
    assert peer.received[2].body == picture
    assert kept.size == len(picture)


async def test_conditions_of_a_put(clients: Clients, peer: Peer, picture: bytes) -> None:
    """Each put carries the checksum and the condition that nothing stands there yet."""
    peer.says(answer(200))
    await store_at(peer.url, clients).keep(uuid4(), picture, Wanted("png", SIZE))
    headers = peer.received[0].headers
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-checksum-sha256"]
    assert headers["content-type"] == "image/png"


@pytest.mark.parametrize("status", [401, 403, 405])
async def test_refusal_of_the_store(
    clients: Clients, peer: Peer, picture: bytes, status: int
) -> None:
    """A refusal (a wrong key, no such bucket) is nothing to wait for."""
    peer.says(answer(status))
    for call in (
        store_at(peer.url, clients).find(uuid4(), "png"),
        store_at(peer.url, clients).keep(uuid4(), picture, Wanted("png", SIZE)),
    ):
        with pytest.raises(ProviderError, match=f"bucket {BUCKET}") as caught:
            await call
        assert caught.value.failure.code is ErrorCode.INTERNAL
    assert len(peer.received) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_passing_trouble(clients: Clients, peer: Peer, status: int) -> None:
    """Throttling and outages of the store are waited for."""
    peer.says(answer(status), answer(404))
    assert await store_at(peer.url, clients).find(uuid4(), "png") is None
    assert len(peer.received) == 2


async def test_store_away_for_good(clients: Clients, picture: bytes) -> None:
    """A store that stays away is given up, with a reason that names the bucket."""
    store = store_at(refusing_url(), clients, patience_seconds=0.1)
    with pytest.raises(ProviderError, match=f"bucket {BUCKET}") as caught:
        await store.keep(uuid4(), picture, Wanted("png", SIZE))
    assert caught.value.failure.code is ErrorCode.INTERNAL


@pytest.mark.usefixtures("correlated")
async def test_ids_reach_the_store(
    clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """The store's log can be searched by the correlationId, and the header is signed."""
    peer.says(answer(404))
    await store_at(peer.url, clients).find(asked.request_id, "png")
    headers = peer.received[0].headers
    assert headers["x-correlation-id"] == str(asked.correlation_id)
