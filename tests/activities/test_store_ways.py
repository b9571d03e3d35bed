"""Stores that differ: found out before money is spent, and the first image of a request stays."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from uuid import uuid4

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from urllib3 import HTTPResponse

from activities.bucket import ImageId
from activities.errors import ProviderError
from activities.s3 import S3Bucket
from activities.storage import ImageStore
from activities.store_ways import Ways
from contracts.errors import ErrorCode
from contracts.names import GenerationId, erased_key
from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.stack.config import BUCKET
from peers.store import StorageSettings, s3_client
from tests.activities.odd_store import Object, OddStore, odd_store
from tests.activities.stored_images import SIZE, kept_by
from workers.clients import Clients
from workers.store_wiring import bucket_of

KEYS = {"access_key_id": "id", "secret_access_key": "secret"}
WANTED = ImageId(uuid4(), "0" * 64, "png")

ODD = {
    "as Amazon's": (OddStore(), Ways(True, True, False)),
    "checksums refused": (OddStore(refuses_checksums=True), Ways(False, True, False)),
    "condition refused": (OddStore(condition="refused"), Ways(True, False, False)),
    "condition ignored": (OddStore(condition="ignored"), Ways(True, False, False)),
    "both": (
        OddStore(refuses_checksums=True, condition="refused"),
        Ways(False, False, False),
    ),
    "missing is hidden": (OddStore(hides_missing=True), Ways(True, True, True)),
    "lists without times": (
        OddStore(condition="ignored", says_when=False),
        Ways(True, False, False),
    ),
}


@pytest.fixture
def store(request: pytest.FixtureRequest) -> OddStore:
    """A fresh one like the parameter's."""
    found: OddStore = request.param
    found.objects, found.requests, found.writes = {}, [], 0
    return found


@pytest.fixture
async def url(store: OddStore) -> AsyncIterator[str]:
    """Where it listens."""
    async with odd_store(store) as peer:
        yield peer.url


def image_store(url: str, clients: Clients, **settings: object) -> ImageStore:
    """Ours, which knows nothing of it yet."""
    where = {"bucket": BUCKET, "endpoint_url": url, **KEYS, **settings}
    bucket = bucket_of(StorageSettings.model_validate(where))
    return ImageStore(bucket, clients.threads, clients.threads)


@pytest.mark.parametrize("store", [store for store, _ in ODD.values()], ids=ODD, indirect=True)
async def test_first_image_stays(
    store: OddStore, url: str, clients: Clients, picture: bytes
) -> None:
    """Whatever the store lacks: a late writer changes nothing, and refers to the first image."""
    first_worker, late_worker = image_store(url, clients), image_store(url, clients)
    assert await first_worker.find(WANTED) is None
    first = await kept_by(first_worker, WANTED, picture)
    late = await kept_by(late_worker, WANTED, paint(Picture("another picture", 8, *SIZE)))
    assert late == first == await late_worker.find(WANTED)
    assert store.images[first.key] == picture


@pytest.mark.parametrize(
    ("store", "ways"), [(store, ways) for store, ways in ODD.values()], ids=ODD, indirect=["store"]
)
async def test_ways_are_found_out_once(
    store: OddStore, url: str, clients: Clients, ways: Ways
) -> None:
    """By small objects, before the first image, and not for each one; nothing of them is left."""
    where = StorageSettings.model_validate({"bucket": BUCKET, "endpoint_url": url, **KEYS})
    bucket = bucket_of(where)
    assert await asyncio.to_thread(bucket.ways) == ways
    asked = len(store.requests)
    assert asked <= 10
    assert await asyncio.to_thread(bucket.ways) == ways
    assert len(store.requests) == asked
    assert store.objects == {}


async def test_ways_that_are_set(clients: Clients, picture: bytes) -> None:
    """A setting is believed: a store without conditional writes is not asked for one."""
    store = OddStore(condition="refused", refuses_checksums=True)
    settings = {"conditional_writes": False, "checksums": False}
    async with odd_store(store) as peer:
        ours = image_store(peer.url, clients, **settings)
        kept = await kept_by(ours, WANTED, picture)
    assert kept.key == f"generations/{WANTED.request_id}.{kept.sha256[:32]}.png"
    assert sum(line.startswith("PUT") for line in store.requests) == 2  # one to find out, the image


REFUSED = {
    "encryption": (OddStore(wants_encryption=True), "storage.encryption"),
    "host style": (OddStore(host_style_alone=True), 'storage.addressing_style = "virtual"'),
    "no right to write": (OddStore(refuses_writes=True), "s3:PutObject"),
    "no right to read": (OddStore(may_read=False), "s3:GetObject"),
    "no right to list where it is needed": (
        OddStore(condition="ignored", may_list=False),
        "s3:ListBucket",
    ),
}


@pytest.mark.parametrize(
    ("store", "fix"), list(REFUSED.values()), ids=list(REFUSED), indirect=["store"]
)
async def test_refused_before_money_is_spent(
    store: OddStore, url: str, clients: Clients, fix: str
) -> None:
    """The look-up before a paid call says what to set or to grant, so that nothing is paid for."""
    with pytest.raises(ProviderError, match=fix) as caught:
        await image_store(url, clients).find(WANTED)
    assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert store.objects == {}


async def test_a_key_that_is_taken_away(clients: Clients, picture: bytes) -> None:
    """Where what is missing is forbidden: images that are there are not paid for again."""
    store = OddStore(hides_missing=True)
    async with odd_store(store) as peer:
        ours = image_store(peer.url, clients)
        await kept_by(ours, WANTED, picture)
        store.may_read = False
        ours._bucket._sure_until = 0  # a minute later
        with pytest.raises(ProviderError, match="s3:GetObject") as caught:
            await ours.find(WANTED)
    assert caught.value.failure.code is ErrorCode.STORE_UNAVAILABLE


async def test_encryption_that_is_set(clients: Clients, picture: bytes) -> None:
    """Each object asks for what the bucket's policy demands."""
    store = OddStore(wants_encryption=True)
    async with odd_store(store) as peer:
        settings = {"encryption": "aws:kms", "kms_key_id": "a-key"}
        kept = await kept_by(image_store(peer.url, clients, **settings), WANTED, picture)
        sent = [each.headers for each in peer.received if each.method == "PUT"]
    assert store.images[kept.key] == picture
    assert {each["x-amz-server-side-encryption"] for each in sent} == {"aws:kms"}
    assert {each["x-amz-server-side-encryption-aws-kms-key-id"] for each in sent} == {"a-key"}


async def test_host_style_that_is_set(clients: Clients) -> None:
    """The bucket is in the host's name then, in links too."""
    where = {"bucket": BUCKET, "endpoint_url": "http://store.example.com", **KEYS}
    settings = StorageSettings.model_validate({**where, "addressing_style": "virtual"})
    link = bucket_of(settings).link("generations/a.png")
    assert link.startswith(f"http://{BUCKET}.store.example.com/generations/a.png?")


async def test_what_a_job_has_left_is_erased(clients: Clients) -> None:
    """The container's image of this request alone: its key has the request's id."""
    mine, other = (f"jobs/duragen-{each}-0123abcd.png" for each in (WANTED.request_id, uuid4()))
    store = OddStore(objects={key: Object(b"pixels", {}, 1) for key in (mine, other)})
    async with odd_store(store) as peer:
        bucket = image_store(peer.url, clients)._bucket
        generation = GenerationId(WANTED.request_id)
        assert await asyncio.to_thread(bucket.objects_of, generation) == [mine]
        assert await asyncio.to_thread(bucket.erase, generation) == [mine]
    assert list(store.images) == [other, erased_key(WANTED.request_id)]


async def test_erased_where_lists_say_no_times(clients: Clients, picture: bytes) -> None:
    """`duragen erase` needs none."""
    store = OddStore(says_when=False)
    async with odd_store(store) as peer:
        ours = image_store(peer.url, clients)
        kept = await kept_by(ours, WANTED, picture)
        removed = await asyncio.to_thread(ours._bucket.erase, GenerationId(WANTED.request_id))
    assert removed == [kept.key]
    assert list(store.images) == [erased_key(WANTED.request_id)]


async def test_away_while_it_is_found_out(clients: Clients, picture: bytes) -> None:
    """A store that is away at first is asked again, and not taken for another kind of store."""
    store = OddStore()
    async with odd_store(store) as peer:
        ours = image_store(peer.url, clients)
        away = ours._bucket  # the one that learns
        store.refuses_writes = True
        with pytest.raises(ProviderError):
            await ours.find(WANTED, seconds=0)
        store.refuses_writes = False
        assert await asyncio.to_thread(away.ways) == Ways(True, True, False)
        assert (await kept_by(ours, WANTED, picture)).key in store.images


@pytest.mark.parametrize(
    ("endpoint_url", "signed"),
    [
        ("http://127.0.0.1:9000", False),
        ("http://localhost:9000", False),
        ("http://store.example", True),
        ("https://store.example", False),
        (None, False),
    ],
)
def test_what_vouches_for_an_image(
    endpoint_url: str | None, picture: bytes, *, signed: bool
) -> None:
    """Its checksum; and where neither TLS nor this machine keeps it, the signature as well."""
    where = {"bucket": BUCKET, "region": "us-east-1", **KEYS}
    client = s3_client(StorageSettings.model_validate(where), endpoint_url)
    sent: list[AWSPreparedRequest] = []

    def answered(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        nothing = HTTPResponse(BytesIO(), preload_content=False)
        return AWSResponse(request.url, 200, HeadersDict(), nothing)

    digest = hashlib.sha256(picture)
    client.meta.events.register("before-send.s3", answered)
    S3Bucket(client, BUCKET).put(
        "key", picture, conditional=True, checksums=True, sha256=digest.hexdigest()
    )
    (headers,) = [
        {name.lower(): _text(value) for name, value in each.headers.items()} for each in sent
    ]
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(digest.digest()).decode()
    assert headers["x-amz-content-sha256"] == (digest.hexdigest() if signed else "UNSIGNED-PAYLOAD")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
