"""`Prefer: wait`: who waits, how many of them, and what ends a wait before its time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.requests import Request

from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient
from starter.gateway.developers.waiting import MOST_OF_ONE, Waiting
from tests.activities.http_peer import hang, listening
from tests.developers.world import PATIENCE_SECONDS, Developer, break_images

HOURS = 10_000.0
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def test_one_caller_takes_no_more_than_its_part(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """The others of the same caller are answered 202 at once; all others 200 at the end."""
    await break_images(whole, http, latency_seconds=100)
    job_id = (await developer.asks(idempotency_key="mine")).json()["jobId"]
    waits = [
        asyncio.create_task(developer.asks(idempotency_key="mine", prefer="wait=60"))
        for _ in range(MOST_OF_ONE + 2)
    ]
    done: set[asyncio.Task[httpx.Response]] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(done) < 2:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.01)
    assert [each.result().status_code for each in done] == [202, 202]
    await developer.call("DELETE", f"/{job_id}")
    answers = [await each for each in waits if each not in done]
    assert {(each.status_code, each.json()["status"]) for each in answers} == {(200, "canceled")}


async def test_a_gateway_that_is_stopped(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """Who waits is answered: the job is accepted, whoever goes."""
    await break_images(whole, http, latency_seconds=100)
    gateway = whole.supervisor("gateway")
    waiting = asyncio.create_task(developer.asks(idempotency_key="mine", prefer="wait=60"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await developer.job_ids():
            await asyncio.sleep(0.02)
    [job_id] = await developer.job_ids()
    await developer.becomes(job_id, "processing")
    try:
        await asyncio.to_thread(gateway.stop)
        answer = await waiting
    finally:
        gateway.start()
        await asyncio.to_thread(gateway.wait)
    assert (answer.status_code, answer.json()["jobId"]) == (202, job_id)
    await developer.call("DELETE", f"/{job_id}")


# Without a server -------------------------------------------------------------------------------


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    """For a Temporal that never answers."""
    async with listening() as peer:
        peer.says(hang)
        yield Waiting(AsyncDuragenClient(f"127.0.0.1:{peer.port}"), "", 2)


def request(caller: str, receive: Receive) -> Request:
    """One of this caller's."""
    made = Request({"type": "http", "headers": []}, receive)  # type: ignore[arg-type]
    made.state.caller_name = caller
    return made


class Connection:
    """Of a caller who waits; `asked` is how often somebody looked whether it is open."""

    def __init__(self, *, closed: bool = False) -> None:
        self.asked = 0
        self.looked = asyncio.Event()
        self._closed = closed

    async def __call__(self) -> dict[str, Any]:
        """Starlette's `receive`."""
        self.asked += 1
        self.looked.set()
        if not self._closed:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}


@asynccontextmanager
async def held(waiting: Waiting, *callers: str) -> AsyncIterator[None]:
    """These callers wait until the block ends."""
    open_ones = {caller: Connection() for caller in callers}
    tasks = [
        asyncio.create_task(waiting.ended(uuid4(), HOURS, request(caller, connection)))
        for caller, connection in open_ones.items()
    ]
    for connection in open_ones.values():
        await connection.looked.wait()  # it waits
    try:
        yield
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_caller_that_leaves_holds_no_place(waiting: Waiting) -> None:
    """However many come and go: each of them is let wait, and looked after."""
    closed = Connection(closed=True)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(2 * MOST_OF_ONE):
            assert not await waiting.ended(uuid4(), HOURS, request("one", closed))
    assert closed.asked == 2 * MOST_OF_ONE


async def test_when_all_places_are_taken(waiting: Waiting) -> None:
    """The next one is answered at once; and as soon as it is closed, everybody."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with held(waiting, "one", "two"):
            refused = Connection()
            assert not await waiting.ended(uuid4(), HOURS, request("three", refused))
            assert refused.asked == 0
        connection = Connection()
        waits = asyncio.create_task(waiting.ended(uuid4(), HOURS, request("three", connection)))
        await connection.looked.wait()
        waiting.close()
        assert not await waits
