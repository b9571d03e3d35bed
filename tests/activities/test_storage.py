"""Images in a real S3 store: found, kept once, linked."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import boto3
import httpx
import pytest

from activities.bucket import ImageId
from activities.errors import ProviderError
from activities.storage import ImageStore
from activities.store_ways import Ways
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.stack.config import BUCKET
from peers.store import StorageSettings, s3_client
from tests.activities.http_peer import Peer, answer, refusing_url
from tests.activities.stored_images import SIZE, image_of, kept_by, stored
from workers.clients import Clients
from workers.settings import Settings
from workers.store_wiring import bucket_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PEER_KEYS = {"access_key_id": "id", "secret_access_key": "secret"}
LIKE_AMAZON = Ways(checksums=True, conditional=True, hides_missing=False)


@pytest.fixture(scope="session")
def s3(worker_settings: Settings) -> "S3Client":
    """A client of the store that is not the one under test."""
    return s3_client(worker_settings.storage)


def objects_of(s3: "S3Client", request_id: UUID) -> list[str]:
    """The keys of all objects of a request."""
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"generations/{request_id}")
    return [item["Key"] for item in listed.get("Contents", [])]


def an_image(image_format: str = "png") -> ImageId:
    """The image of some request."""
    return ImageId(uuid4(), "0" * 64, image_format)


def store_at(
    url: str, clients: Clients, settings: StorageSettings | None = None, **more: float
) -> ImageStore:
    """A store at another endpoint, whose ways are known: it is asked for nothing else."""
    where = {"bucket": BUCKET, "endpoint_url": url, **PEER_KEYS}
    there = settings.model_copy(update={"endpoint_url": url}) if settings else None
    bucket = bucket_of(there or StorageSettings.model_validate(where), known=LIKE_AMAZON)
    return ImageStore(bucket, clients.threads, clients.threads, **more)


async def test_keep_and_find(clients: Clients, picture: bytes) -> None:
    """What is kept is found again: key, format, size, width, height, checksum."""
    wanted = an_image()
    assert await clients.store.find(wanted) is None
    kept = await stored(clients, wanted, picture)
    assert kept.key == f"generations/{wanted.request_id}.png"
    assert (kept.format, kept.size, kept.width, kept.height) == ("png", len(picture), *SIZE)
    assert kept.sha256 == hashlib.sha256(picture).hexdigest()
    assert await clients.store.find(wanted) == kept
    assert await clients.store.find(wanted._replace(format="webp")) is None


async def test_object_as_others_see_it(
    clients: Clients, s3: "S3Client", asked: GenerationRequested, picture: bytes
) -> None:
    """The object says of itself what it is, for whoever else reads the bucket."""
    kept = await stored(clients, image_of(asked), picture)
    found = s3.get_object(Bucket=BUCKET, Key=kept.key)
    assert found["Body"].read() == picture
    assert found["ContentType"] == "image/png"
    facts = {"format": "png", "width": "128", "height": "96", "sha256": kept.sha256}
    assert found["Metadata"] == {**facts, "request": asked.image_digest}


async def test_link(clients: Clients, http: httpx.AsyncClient, picture: bytes) -> None:
    """A link opens without any key, lives as long as the settings say, and only reads."""
    link = await clients.store.link(await stored(clients, an_image(), picture))
    got = await http.get(link)
    assert (got.status_code, got.content) == (200, picture)
    assert (await http.delete(link)).status_code == 403
    assert (await http.get(link.partition("?")[0])).status_code == 403


async def test_link_for_somebody_else(
    worker_settings: Settings, clients: Clients, http: httpx.AsyncClient, picture: bytes
) -> None:
    """The link is signed for the address at which Odoo reaches the store, and opens there alone."""
    endpoint = worker_settings.storage.endpoint_url or ""
    public = endpoint.replace("127.0.0.1", "localhost")
    there = worker_settings.storage.model_copy(update={"public_endpoint_url": public})
    store = ImageStore(bucket_of(there), clients.threads, clients.threads)
    link = await store.link(await kept_by(store, an_image(), picture))
    assert link.startswith(f"{public}/{BUCKET}/")
    assert (await http.get(link)).content == picture
    assert (await http.get(link.replace("localhost", "127.0.0.1"))).status_code == 403


async def test_link_with_keys_that_end(
    worker_settings: Settings,
    clients: Clients,
    http: httpx.AsyncClient,
    picture: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keys that are not in the settings may have to be renewed; without any it is the store's."""
    keys = {"access_key_id": None, "secret_access_key": None}
    storage = worker_settings.storage
    without = storage.model_copy(update=keys)
    assert storage.access_key_id
    assert storage.secret_access_key
    with monkeypatch.context() as ours:
        ours.setenv("AWS_ACCESS_KEY_ID", storage.access_key_id)
        ours.setenv("AWS_SECRET_ACCESS_KEY", storage.secret_access_key.get_secret_value())
        store = ImageStore(bucket_of(without), clients.threads, clients.threads)
        image = await kept_by(store, an_image(), picture)
        assert (await http.get(await store.link(image))).content == picture
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers keys
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    nobody = ImageStore(bucket_of(without), clients.threads, clients.threads)
    with pytest.raises(ProviderError, match="credentials") as caught:
        await nobody.link(image)
    assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE


async def test_second_writer(clients: Clients, s3: "S3Client", picture: bytes) -> None:
    """The first image of a request stays; a second writer is given the first one's reference."""
    wanted = an_image()
    first = await stored(clients, wanted, picture)
    other = paint(Picture("another picture", 8, *SIZE))
    assert await stored(clients, wanted, other) == first
    assert s3.get_object(Bucket=BUCKET, Key=first.key)["Body"].read() == picture
    assert objects_of(s3, wanted.request_id) == [first.key]


async def test_writers_at_once(clients: Clients, s3: "S3Client") -> None:
    """Of eight writers at once one wins, and all are given what really stands there."""
    wanted = an_image()
    pictures = [paint(Picture("a race", seed, *SIZE)) for seed in range(8)]
    kept = await asyncio.gather(*(stored(clients, wanted, data) for data in pictures))
    found = s3.get_object(Bucket=BUCKET, Key=kept[0].key)["Body"].read()
    assert {image.sha256 for image in kept} == {hashlib.sha256(found).hexdigest()}
    assert objects_of(s3, wanted.request_id) == [kept[0].key]


async def test_no_image_is_not_kept(clients: Clients, s3: "S3Client", picture: bytes) -> None:
    """What is no image never reaches the store."""
    wanted = an_image()
    with pytest.raises(ProviderError) as caught:
        await stored(clients, wanted, picture[: len(picture) // 2])
    assert caught.value.failure.code is ErrorCode.INVALID_OUTPUT
    assert objects_of(s3, wanted.request_id) == []


async def test_foreign_object(clients: Clients, s3: "S3Client", picture: bytes) -> None:
    """An object that we did not write is neither taken for ours nor overwritten."""
    wanted = an_image()
    key = f"generations/{wanted.request_id}.png"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"somebody else's")
    for call in (clients.store.find(wanted), stored(clients, wanted, picture)):
        with pytest.raises(ProviderError, match="does not say whose image it is") as caught:
            await call
        assert caught.value.failure.code is ErrorCode.INTERNAL
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"somebody else's"


@pytest.mark.parametrize(
    "change",
    [{"user_id": UUID(int=7)}, {"prompt": "something else"}, {"seed": 8}],
    ids=["user", "prompt", "seed"],
)
async def test_image_of_another_request(
    clients: Clients,
    s3: "S3Client",
    asked: GenerationRequested,
    picture: bytes,
    change: dict[str, object],
) -> None:
    """An id that was used for another request, or by another user, does not get its image."""
    kept = await stored(clients, image_of(asked), picture)
    other = asked.model_copy(update=change)
    for call in (
        clients.store.find(image_of(other)),
        stored(clients, image_of(other), paint(Picture("another picture", 8, *SIZE))),
    ):
        with pytest.raises(ProviderError, match="another request") as caught:
            await call
        assert (caught.value.failure.code, caught.value.ends) == (ErrorCode.CONFLICT, True)
    assert s3.get_object(Bucket=BUCKET, Key=kept.key)["Body"].read() == picture


async def test_image_of_the_same_request(
    clients: Clients, asked: GenerationRequested, picture: bytes
) -> None:
    """An Odoo that has moved, and asks again under another trace, gets what was paid for."""
    kept = await stored(clients, image_of(asked), picture)
    moved = {"callback_url": "https://new.example.com/callback", "correlation_id": uuid4()}
    assert await clients.store.find(image_of(asked.model_copy(update=moved))) == kept


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
    wanted = an_image()
    port = urlsplit(worker_settings.storage.endpoint_url or "").port or 0
    async with flipping(port, picture[600:640]) as url:
        store = store_at(url, clients, worker_settings.storage)
        with pytest.raises(ProviderError) as caught:
            await kept_by(store, wanted, picture)
    assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert objects_of(s3, wanted.request_id) == []


@pytest.mark.parametrize("status", [409, 412])
async def test_race_that_left_nothing(
    clients: Clients, peer: Peer, picture: bytes, status: int
) -> None:
    """A lost race after which no image stands there is run again: the image was paid for."""
    peer.says(answer(status), answer(404), answer(200))
    kept = await kept_by(store_at(peer.url, clients), an_image(), picture)
    assert [received.method for received in peer.received] == ["PUT", "HEAD", "PUT"]
    assert peer.received[2].body == picture
    assert kept.size == len(picture)


async def test_conditions_of_a_put(clients: Clients, peer: Peer, picture: bytes) -> None:
    """Each put carries the checksum and the condition that nothing stands there yet."""
    peer.says(answer(200))
    await kept_by(store_at(peer.url, clients), an_image(), picture)
    headers = peer.received[0].headers
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-checksum-sha256"]
    assert headers["content-type"] == "image/png"


@pytest.mark.parametrize("status", [401, 403, 405])
async def test_refusal_of_the_store(
    clients: Clients, peer: Peer, picture: bytes, status: int
) -> None:
    """A refusal (a wrong key, no such bucket) is nothing to wait for here."""
    peer.says(answer(status))
    for call in (
        store_at(peer.url, clients).find(an_image()),
        kept_by(store_at(peer.url, clients), an_image(), picture),
    ):
        with pytest.raises(ProviderError, match=f"bucket {BUCKET}") as caught:
            await call
        assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert len(peer.received) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_passing_trouble(clients: Clients, peer: Peer, status: int) -> None:
    """Throttling and outages of the store are waited for."""
    peer.says(answer(status), answer(404))
    assert await store_at(peer.url, clients).find(an_image()) is None
    assert len(peer.received) == 2


async def test_store_away_for_good(clients: Clients, picture: bytes) -> None:
    """A store that stays away is given up, with a reason that names the bucket."""
    store = store_at(refusing_url(), clients, put_seconds=0.1)
    with pytest.raises(ProviderError, match=f"bucket {BUCKET}") as caught:
        await kept_by(store, an_image(), picture)
    assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE


@pytest.mark.usefixtures("correlated")
async def test_ids_reach_the_store(
    clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """The store's log can be searched by the correlationId, and the header is signed."""
    peer.says(answer(404))
    await store_at(peer.url, clients).find(image_of(asked))
    headers = peer.received[0].headers
    assert headers["x-correlation-id"] == str(asked.correlation_id)
