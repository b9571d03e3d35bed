"""What one webhook costs while others wait: for their next attempt.

The receivers are one server on loopback: one path takes everything, one refuses with 500, so that
its deliveries wait for their next attempt, as after an outage.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.load import PARTS, cpu_seconds
from benchmarks.measures import Figure, percentile
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack

MEASURED = 300
RATE = 10.0
"""Deliveries a second while they are measured."""

AT_ONCE = 20
MANY = 1_000
"""So many need longer than the five minutes between the second attempt and the third."""

PATIENCE_SECONDS = 3_000
SERVERS = ("temporal", "odoo", "worker")


class _Receivers:
    """A server whose path /bad answers 500, and any other 200."""

    def __init__(self) -> None:
        self.url = ""
        self.refused = 0
        self.at: list[float] = []
        """When each that was taken came."""
        self._came = asyncio.Condition()
        self._open: set[asyncio.StreamWriter] = set()

    async def until(self, *, taken: int = 0, refused: int = 0) -> None:
        """Wait until so many were taken, or refused."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._came:
            await self._came.wait_for(lambda: len(self.at) >= taken and self.refused >= refused)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._serve, HOST, 0) as server:
            self.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
            yield
            for writer in self._open:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length))
                bad = head.startswith("post /bad ")
                if bad:
                    self.refused += 1
                else:
                    self.at.append(time.perf_counter())
                async with self._came:
                    self._came.notify_all()
                status = "500 Bad" if bad else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            self._open.discard(writer)


class _User:
    """An API user with one webhook."""

    def __init__(self, http: httpx.AsyncClient, key: str, webhook: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {key}"}
        self._path = f"/v1/webhooks/{webhook}"

    async def tests(self) -> None:
        """Have a test event sent."""
        answer = await self._http.post(f"{self._path}/test", headers=self._headers)
        answer.raise_for_status()


async def among_waiting(waiting: int) -> list[Figure]:
    """A delivery, while so many of another receiver wait for their next attempt."""
    receivers = _Receivers()
    async with receivers.listening(), _stack(receivers.url) as (stack, http):
        bad = await _user(stack, http, f"{receivers.url}/bad")
        good = await _user(stack, http, f"{receivers.url}/good")
        await good.tests()
        await receivers.until(taken=1)
        await _wait_waiting(bad, receivers, waiting)
        processes = {part: psutil.Process(stack.supervisor(part).pid) for part in SERVERS}
        before = {part: cpu_seconds(each) for part, each in processes.items()}
        began, asked, receivers.at = time.perf_counter(), [], []
        for number in range(MEASURED):
            await asyncio.sleep(max(began + number / RATE - time.perf_counter(), 0))
            asked.append(time.perf_counter())
            await good.tests()
        await receivers.until(taken=MEASURED)
        used = {part: cpu_seconds(each) - before[part] for part, each in processes.items()}
    taken = [came - due for came, due in zip(sorted(receivers.at), asked, strict=True)]
    name = f"webhook, {waiting:,} others wait"
    return [
        *(
            Figure(f"{name}: there after, p{percent}", percentile(taken, percent) * 1e3, "ms")
            for percent in (50, 95)
        ),
        *(
            Figure(f"{name}: CPU of each, {part}", cpu / MEASURED * 1e3, "ms")
            for part, cpu in used.items()
        ),
    ]


async def _wait_waiting(bad: _User, receivers: _Receivers, waiting: int) -> None:
    """Make so many, and wait until they wait for longer than is measured.

    After two attempts they wait for five minutes, after three for half an hour.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with room:
            await bad.tests()

    await asyncio.gather(*(one() for _ in range(waiting)))
    await receivers.until(refused=waiting * (3 if waiting > MANY else 2))
    await asyncio.sleep(2)  # until the last of them are reported, too


@asynccontextmanager
async def _stack(private: str) -> AsyncIterator[tuple[LocalStack, httpx.AsyncClient]]:
    more = {"webhooks": {"private": [private]}}
    with tempfile.TemporaryDirectory() as home:
        stack = LocalStack(
            Path(home), (*PARTS, "gateway"), options=SandboxOptions(), overrides=more
        )
        with stack:
            async with httpx.AsyncClient(
                base_url=stack.gateway_url, trust_env=False, timeout=120
            ) as http:
                yield stack, http


async def _user(stack: LocalStack, http: httpx.AsyncClient, url: str) -> _User:
    made = (await http.post(f"{stack.odoo_url}/_sandbox/keys")).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    answer = await http.post("/v1/webhooks", json={"url": url}, headers=headers)
    return _User(http, made["key"], answer.raise_for_status().json()["id"])
