"""S3 servers of others: moto keeps the first object of a key, s3rver ignores the condition."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest

from activities.bucket import ImageId
from activities.storage import ImageStore
from activities.store_ways import Ways
from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.stack.ports import PortRegistry
from peers.store import StorageSettings, s3_client
from tests.activities.stored_images import SIZE, kept_by
from tests.system.running import running
from workers.doctor.store import store as examine
from workers.settings import Settings
from workers.store_wiring import bucket_of

BUILD = Path("build").resolve()
BUCKET = "duragen"


class Server(NamedTuple):
    """One that runs: its settings, and what it does."""

    storage: StorageSettings
    ways: Ways


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For calls to the store."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@asynccontextmanager
async def _running(home: Path, http: httpx.AsyncClient, *command: str) -> AsyncIterator[str]:
    """Its URL; `{port}` in the command is the port."""
    registry = PortRegistry(home / "ports.json")  # kept, so that no other is given the port
    port, log = registry.pick("s3"), home / "log"
    url = f"http://127.0.0.1:{port}"
    filled = [word.format(port=port) for word in command]
    async with running(http, log, url, *filled, any_answer=True):
        yield url


def _settings(url: str, key: str) -> StorageSettings:
    keys = {"access_key_id": key, "secret_access_key": key}
    return StorageSettings.model_validate({"bucket": BUCKET, "endpoint_url": url, **keys})


@pytest.fixture(params=["moto", "s3rver"])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, http: httpx.AsyncClient
) -> AsyncIterator[Server]:
    """Each in turn, with an empty bucket."""
    if request.param == "moto":
        command = [str(BUILD / "moto/bin/moto_server"), "-p", "{port}"]
        key, ways = "any", Ways(checksums=True, conditional=True, hides_missing=False)
    else:
        node, data = shutil.which("node"), tmp_path / "data"
        assert node, "node is missing: `make test-system` needs Node 20"
        script = str(BUILD / "s3rver/node_modules/s3rver/bin/s3rver.js")
        command = [node, script, "-d", str(data), "-a", "127.0.0.1", "-p", "{port}"]
        command.append("--no-vhost-buckets")
        key, ways = "S3RVER", Ways(checksums=True, conditional=False, hides_missing=False)
    async with _running(tmp_path, http, *command) as url:
        storage = _settings(url, key)
        await asyncio.to_thread(s3_client(storage).create_bucket, Bucket=BUCKET)
        yield Server(storage, ways)


async def test_late_writer_changes_nothing(
    server: Server, threads: ThreadPoolExecutor, http: httpx.AsyncClient
) -> None:
    """Of two workers that made an image of one request, the first one's stays, and is linked."""
    wanted = ImageId(uuid4(), "0" * 64, "png")
    first_worker, late_worker = (
        ImageStore(bucket_of(server.storage), threads, threads) for _ in range(2)
    )
    assert await first_worker.find(wanted) is None
    picture, other = (paint(Picture("a lighthouse", seed, *SIZE)) for seed in (1, 2))
    first = await kept_by(first_worker, wanted, picture)
    assert await kept_by(late_worker, wanted, other) == first
    assert await late_worker.find(wanted) == first
    linked = await http.get(await late_worker.link(first))
    assert hashlib.sha256(linked.content).hexdigest() == first.sha256


async def test_ways_are_found_out(server: Server) -> None:
    """What the server really does, by small objects that are deleted again."""
    bucket = bucket_of(server.storage)
    assert await asyncio.to_thread(bucket.ways) == server.ways
    listed = await asyncio.to_thread(s3_client(server.storage).list_objects_v2, Bucket=BUCKET)
    assert "Contents" not in listed


async def test_doctor(server: Server, http: httpx.AsyncClient) -> None:
    """The doctor writes, reads, links and deletes, and says how the store differs."""
    settings = Settings.model_validate({"storage": server.storage.model_dump()})
    finding = await examine(settings, http)
    assert not finding.fix
    assert "writes, reads, links and deletes" in finding.found
    assert ("no conditional writes" in finding.found) == (not server.ways.conditional)


async def test_doctor_before_the_bucket_is_there(server: Server, http: httpx.AsyncClient) -> None:
    """A bucket that is missing is named, and is not made by the way."""
    elsewhere = server.storage.model_copy(update={"bucket": "nobodys"})
    settings = Settings.model_validate({"storage": elsewhere.model_dump()})
    finding = await examine(settings, http)
    assert finding.fix.startswith("create the bucket")
    listed = await asyncio.to_thread(s3_client(server.storage).list_buckets)
    assert [each["Name"] for each in listed["Buckets"]] == [BUCKET]
