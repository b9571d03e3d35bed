"""The load: generations asked for on the embedded stack, so many in flight all the time.

The image service is the sandbox with one canned reply, so that its own work does not count; the
image is a real PNG of 1.3 MB (1.8 MB as base64). All other peers are the real ones.
"""

import asyncio
import json
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import boto3
import httpx
import psutil
from botocore.config import Config

from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

IMAGE_BYTES = 1_300_000
WARM_UP = 50
"""Generations; N8N's compiler needs as many, and the others lose nothing by it."""
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.02
"""Between two reads of Odoo's ledger; no figure depends on it but the pace of the load."""

T = TypeVar("T")

PARTS = ("temporal", "store", "images", "odoo", "worker")


def event(stack: LocalStack) -> dict[str, Any]:
    """A fresh EVT-AIG-001 of a fresh user."""
    return {
        "requestId": str(uuid.uuid4()),
        "correlationId": str(uuid.uuid4()),
        "userId": str(uuid.uuid4()),
        "prompt": "a red fox in the snow",
        "modelId": str(OPENAI_MODEL_ID),
        "resolution": "1024x1024",
        "aspectRatio": "1:1",
        "callbackUrl": stack.odoo_url + CALLBACK_PATH,
    }


@contextmanager
def fresh_stack(latency_seconds: float, parts: Collection[str] = PARTS) -> Iterator[LocalStack]:
    """A stack in a temporary folder, so that no run inherits another one's data."""
    options = SandboxOptions(latency_seconds=latency_seconds, canned_bytes=IMAGE_BYTES)
    with (
        tempfile.TemporaryDirectory() as home,
        LocalStack(Path(home), parts, options=options) as stack,
    ):
        yield stack


def store_client(stack: LocalStack) -> "S3Client":
    """Of the stack's store, with all rights."""
    return boto3.client(
        "s3",
        endpoint_url=stack.s3_url,
        region_name="us-east-1",
        aws_access_key_id=stack.secrets.s3_access_key,
        aws_secret_access_key=stack.secrets.s3_secret_key,
        config=Config(proxies={}),
    )


Start = Callable[[dict[str, Any]], Awaitable[object]]
"""Begins the generation of an event, and returns when it has begun."""

Deliveries = AsyncIterator[tuple[str, float]]
"""Ids of requests whose outcome has arrived, with the time of it in seconds since 1970."""


class Asking:
    """Asks for images, and learns when each outcome has arrived.

    What is measured is who begins: Duragen by its client, or something else.
    """

    def __init__(self, stack: LocalStack, start: Start, deliveries: Deliveries) -> None:
        self.stack = stack
        self._start = start
        self._deliveries = deliveries
        self._waiting: dict[str, asyncio.Future[float]] = {}

    @asynccontextmanager
    async def warm(self) -> AsyncIterator[None]:
        """Ready after a few generations."""
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive())
            for _ in range(WARM_UP):
                await self.generate()
            yield
            receiving.cancel()

    async def generate(self) -> float:
        """One generation; seconds from the call of `start` until the outcome has arrived."""
        asked = event(self.stack)
        arrived = self._waiting[asked["requestId"]] = asyncio.get_running_loop().create_future()
        started = time.time()
        await self._start(asked)
        async with asyncio.timeout(PATIENCE_SECONDS):
            at: float = await arrived
            return at - started

    async def _receive(self) -> None:
        async for request_id, at in self._deliveries:
            waiting = self._waiting.pop(request_id, None)
            if waiting and not waiting.done():
                waiting.set_result(at)
        raise RuntimeError("nobody says any more what has arrived")


@asynccontextmanager
async def asking(stack: LocalStack) -> AsyncIterator[Asking]:
    """Odoo, which asks Duragen for images; warmed up."""
    os.environ.update(stack.environment)
    somebody = Asking(stack, AsyncDuragenClient().start, deliveries_to_odoo(stack))
    async with somebody.warm():
        yield somebody


async def deliveries_to_odoo(stack: LocalStack) -> Deliveries:
    """What the sandbox Odoo takes; the time is its own time stamp, read from its ledger."""
    last = 0
    async with httpx.AsyncClient(base_url=stack.odoo_url, trust_env=False) as http:
        while True:
            answer = await http.get("/_sandbox/deliveries", params={"after": last})
            for delivery in answer.json():
                last = delivery["id"]
                yield delivery["request_id"], delivery["at"]
            await asyncio.sleep(POLL_SECONDS)


class Lane:
    """One client on one connection, in plain sockets.

    A full HTTP client's own work, 50 times on the same cores, would be a good part of the figure.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, times: int) -> list[float]:
        """So many requests one after the other; the seconds that each took."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._stack.ports.gateway)
        reader, writer = self._streams
        seconds = []
        for _ in range(times):
            body = json.dumps(event(self._stack)).encode()
            started = time.perf_counter()
            writer.write(
                b"POST /v1/generations HTTP/1.1\r\nHost: gateway\r\n"
                b"Content-Type: application/json\r\n"
                + f"Authorization: Bearer {self._stack.secrets.api_key}\r\n".encode()
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202 "):
                raise RuntimeError(f"the gateway answered {head!r}")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(length)
            seconds.append(time.perf_counter() - started)
        return seconds


class Peak:
    """The largest resident memory of a process that was seen while a block ran."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.megabytes = 0.0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look ten times a second."""

        async def look() -> None:
            while True:
                seen = self._process.memory_info().rss / 1e6
                self.megabytes = max(self.megabytes, seen)
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(look())
        try:
            yield
        finally:
            watching.cancel()


async def many(in_flight: int, runs: int, one: Callable[[], Awaitable[T]]) -> list[T]:
    """What so many runs of `one` return, so many in flight until the last have begun."""
    todo = iter(range(runs))

    async def lane() -> list[T]:
        return [await one() for _ in todo]

    lanes = await asyncio.gather(*(lane() for _ in range(in_flight)))
    return [result for each in lanes for result in each]


class Loaded(NamedTuple):
    """What was seen under a load: generations a second, and the seconds that each took.

    `cpu_seconds` is what all processes that this one has started used for one generation.
    """

    rate: float
    seconds: list[float]
    cpu_seconds: float


async def under_load(somebody: Asking, in_flight: int, runs: int) -> Loaded:
    """So many in flight all the time."""
    servers = psutil.Process().children(recursive=True)
    before, started = sum(map(cpu_seconds, servers)), time.perf_counter()
    seconds = await many(in_flight, runs, somebody.generate)
    rate = runs / (time.perf_counter() - started)
    return Loaded(rate, seconds, (sum(map(cpu_seconds, servers)) - before) / runs)


async def images_take(stack: LocalStack, seconds: float) -> None:
    """From now on the image service needs so long for each image."""
    async with httpx.AsyncClient(base_url=stack.images_url, trust_env=False) as http:
        answer = await http.put("/_sandbox/faults", json={"latency_seconds": seconds})
        answer.raise_for_status()


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has used so far, of user and system time."""
    times = process.cpu_times()
    return float(times.user + times.system)
