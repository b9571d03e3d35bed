"""What breaks between N8N and Duragen; not in every run: two minutes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load import event as plain_event
from benchmarks.n8n.server import n8n_beside
from deploy.local.n8n.install import installed
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from tests.n8n.world import START, World, delivered, until

REQUESTS = 50


async def test_callers_read_what_duragen_says(world: World) -> None:
    """A malformed request's problem, with each field; a caller without a key gets no further."""
    answer = await world.caller.post(START, json=world.event(prompt=""))
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert [fault["field"] for fault in answer.json()["errors"]] == ["prompt"]
    for key in ("", "Bearer wrong"):
        answer = await world.caller.post(START, json=world.event(), headers={"Authorization": key})
        assert answer.status_code == 403


async def test_duragen_is_away(world: World) -> None:
    """N8N tries again by itself; a caller who reads 503 in the end asks again, and pays once."""
    event = world.event()
    gateway = world.stack.supervisor("gateway")
    port = int(world.stack.gateway_url.rsplit(":", 1)[1])
    await asyncio.to_thread(gateway.stop)
    async with _closing(port) as called:
        asking = asyncio.create_task(_accepted(world, event))
        await until(lambda: len(called) >= 2)  # one of the caller's, and N8N's own second try
    gateway.start()
    await asyncio.to_thread(gateway.wait)
    await asking
    await world.becomes(event, "completed")
    assert await world.paid(event) == 1


async def test_n8n_is_killed_and_nothing_is_lost(world: World) -> None:
    """Half of the requests are in: Duragen carries them on. The callers of the others ask again."""
    events = [world.event() for _ in range(REQUESTS)]
    answered: list[int] = []
    """How often each caller found nobody, before there was an answer."""

    async def ask(event: dict[str, Any]) -> None:
        answered.append(await _accepted(world, event))

    async with asyncio.TaskGroup() as asking:
        for event in events:
            asking.create_task(ask(event))
        await until(lambda: len(answered) >= REQUESTS // 2)
        world.n8n.supervisor.kill()
    assert any(answered), "the death was no trouble to anybody"
    for event in events:
        await world.becomes(event, "completed")
    heard = await world.informed()
    assert [heard.count(event["requestId"]) for event in events] == [1] * REQUESTS
    assert sum([await world.paid(event) for event in events]) == REQUESTS


async def test_n8n_alone_loses_what_is_under_way(tmp_path: Path) -> None:
    """The same death with N8N as the orchestrator: all is paid, and nothing ever comes."""
    options = SandboxOptions(latency_seconds=5)
    stack = LocalStack(tmp_path, ("images", "odoo"), options=options)
    with stack, n8n_beside(stack, installed(), "handed on") as (server, url):
        events = [plain_event(stack) for _ in range(REQUESTS)]
        async with httpx.AsyncClient(timeout=100, trust_env=False) as caller:
            while not await delivered(stack):  # of N8N's own start
                await asyncio.sleep(0.1)
            before = (await _calls(stack, caller))["calls"]
            answers = await asyncio.gather(*(caller.post(url, json=each) for each in events))
            assert {answer.status_code for answer in answers} == {200}
            while (await _calls(stack, caller))["calls"] < before + REQUESTS:
                await asyncio.sleep(0.1)
            server.supervisor.kill()
            await until(lambda: not server.supervisor.ready.is_set())
            await asyncio.to_thread(server.supervisor.wait_ready, 200)
            # One that is asked for now comes, so the others will not.
            last = plain_event(stack)
            (await caller.post(url, json=last)).raise_for_status()
            async with asyncio.timeout(200):
                while last["requestId"] not in (heard := await delivered(stack)):
                    await asyncio.sleep(0.1)
            assert [each for each in events if each["requestId"] in heard] == []
            assert (await _calls(stack, caller))["paid"] >= before + REQUESTS


async def _calls(stack: LocalStack, client: httpx.AsyncClient) -> dict[str, int]:
    found = (await client.get(f"{stack.images_url}/_sandbox/calls")).json()
    return {"calls": len(found["calls"]), "paid": found["paid"]}


async def _accepted(world: World, event: dict[str, Any]) -> int:
    """Ask until Duragen has it; how often nobody was there."""
    alone = 0
    while True:
        try:
            answer = await world.caller.post(START, json=event)
        except httpx.TransportError:
            alone += 1
        else:
            if answer.status_code == httpx.codes.ACCEPTED:
                return alone
        await asyncio.sleep(0.2)


@asynccontextmanager
async def _closing(port: int) -> AsyncIterator[list[int]]:
    """Takes connections at the port and closes them at once; one entry for each."""
    called: list[int] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append(1)
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", port, family=socket.AF_INET):
        yield called
