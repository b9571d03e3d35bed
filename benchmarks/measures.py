"""What is measured on the embedded stack, with the load on the same machine.

The image service is the sandbox with one canned reply, so that its own work does not count; the
image is a real PNG of 1.3 MB (1.8 MB as base64). All other peers are the real ones.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient

IMAGE_BYTES = 1_300_000
WARM_UP = 10
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.02
"""Between two reads of Odoo's ledger; no figure depends on it but the pace of the load."""

PARTS = ("temporal", "store", "images", "odoo", "worker")


class Figure(NamedTuple):
    """One row of the table; `unit` says what `value` is, `aim` what the project wants of it."""

    name: str
    value: float
    unit: str
    aim: str = ""


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


class Asking:
    """Asks for images as Odoo does: starts with the client, and receives the outcome by callback.

    The time of a delivery is the sandbox Odoo's own time stamp, read from its ledger.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._client = AsyncDuragenClient()
        self._delivered: dict[str, asyncio.Future[float]] = {}

    @asynccontextmanager
    async def warm(self) -> AsyncIterator[None]:
        """Ready after a few generations."""
        receiving = asyncio.create_task(self._receive())
        try:
            for _ in range(WARM_UP):
                await self.generate()
            yield
        finally:
            receiving.cancel()

    async def generate(self) -> float:
        """One generation; seconds from the call of `start` until Odoo has the outcome."""
        asked = event(self._stack)
        delivered = self._delivered[asked["requestId"]] = asyncio.get_running_loop().create_future()
        started = time.time()
        await self._client.start(asked)
        async with asyncio.timeout(PATIENCE_SECONDS):
            at: float = await delivered
            return at - started

    async def _receive(self) -> None:
        last = 0
        async with httpx.AsyncClient(base_url=self._stack.odoo_url, trust_env=False) as http:
            while True:
                answer = await http.get("/_sandbox/deliveries", params={"after": last})
                for delivery in answer.json():
                    last = delivery["id"]
                    waiting = self._delivered.pop(delivery["request_id"], None)
                    if waiting and not waiting.done():
                        waiting.set_result(delivery["at"])
                await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def asking(stack: LocalStack) -> AsyncIterator[Asking]:
    """A client that asks for images, warmed up."""
    os.environ.update(stack.environment)
    somebody = Asking(stack)
    async with somebody.warm():
        yield somebody


async def until_odoo_has_it(runs: int = 100) -> list[Figure]:
    """One at a time: from the call of `start` to Odoo's own time stamp of the delivery."""
    with fresh_stack(0) as stack:
        async with asking(stack) as somebody:
            seconds = [await somebody.generate() for _ in range(runs)]
    return [
        Figure("submit to delivered, p50", _p(seconds, 50) * 1e3, "ms", "under 56"),
        Figure("submit to delivered, p95", _p(seconds, 95) * 1e3, "ms"),
    ]


async def throughput(in_flight: int, latency_seconds: float, runs: int) -> list[Figure]:
    """So many in flight all the time; the worker's CPU and memory are the operating system's."""
    name = f"{in_flight} in flight, latency {latency_seconds:g} s"
    with fresh_stack(latency_seconds) as stack:
        async with asking(stack) as somebody:
            parts = {part: psutil.Process(stack.supervisor(part).pid) for part in PARTS}
            before = {part: _cpu(process) for part, process in parts.items()}
            peak = Peak(parts["worker"])
            started = time.perf_counter()
            async with peak.watched():
                await _many(in_flight, runs, somebody.generate)
            seconds = time.perf_counter() - started
            used = {part: _cpu(process) - before[part] for part, process in parts.items()}
    aim = "over 38" if (in_flight, latency_seconds) == (50, 0) else ""
    return [
        Figure(f"{name}: generations", runs / seconds, "1/s", aim),
        Figure(f"{name}: worker memory, peak", peak.megabytes, "MB", "under 300"),
        *(
            Figure(f"{name}: CPU a generation, {part}", cpu / runs * 1e3, "ms")
            for part, cpu in used.items()
        ),
    ]


async def gateway_acknowledgement(
    *, working: bool, clients: int = 50, runs: int = 1_000
) -> list[Figure]:
    """EVT-AIG-001 over HTTP from many clients at once, each sending again as soon as it may.

    `working`: a worker on the same two cores works on what comes, which is less than is sent.
    Without it the requests wait in Temporal, as they do while the workers are on other machines.
    """
    parts = (*PARTS, "gateway") if working else ("temporal", "gateway")
    with fresh_stack(0, parts) as stack:
        each = runs // clients
        lanes = [Lane(stack) for _ in range(clients)]
        await asyncio.gather(*(lane.post(1) for lane in lanes))
        taken = await asyncio.gather(*(lane.post(each) for lane in lanes))
    seconds = [second for lane in taken for second in lane]
    name = f"gateway acknowledges, {clients} clients, {'worker busy' if working else 'no worker'}"
    return [
        Figure(f"{name}: average", statistics.fmean(seconds) * 1e3, "ms", "under 500"),
        Figure(f"{name}: p95", _p(seconds, 95) * 1e3, "ms", "under 1000"),
    ]


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


async def _many(in_flight: int, runs: int, one: Callable[[], Awaitable[object]]) -> None:
    todo = iter(range(runs))

    async def lane() -> None:
        for _ in todo:
            await one()

    await asyncio.gather(*(lane() for _ in range(in_flight)))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _p(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
