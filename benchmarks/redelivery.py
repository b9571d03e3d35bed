"""`duragen redeliver --all` after an outage of Odoo: how long it takes."""

import asyncio
import os
import sqlite3
import sys
import time
from contextlib import closing

from temporalio.client import Client

from benchmarks.load import event, fresh_stack
from benchmarks.measures import Figure
from contracts.names import PARKED_QUERY
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient

AT_ONCE = 50
PATIENCE_SECONDS = 900.0


async def redelivered(parked: int = 2_500) -> list[Figure]:
    """Odoo is ended, so many outcomes are parked, Odoo comes back, the operator sends them off."""
    with fresh_stack(0) as stack:
        client = await Client.connect(stack.temporal_address)
        supervisor = stack.supervisor("odoo")
        await asyncio.to_thread(supervisor.stop)
        began = time.perf_counter()
        await _ask(stack, parked)
        await _until_made(stack, parked)
        made = time.perf_counter() - began
        await _until_parked(client, parked)
        supervisor.start()
        await asyncio.to_thread(supervisor.wait)
        began = time.perf_counter()
        code, said = await _redeliver(stack)
        seconds = time.perf_counter() - began
        left = (await client.count_workflows(PARKED_QUERY)).count
        if code or left:
            raise RuntimeError(f"redeliver left {left}, exit code {code}: {said[-500:]}")
        taken = _delivered(stack)
    if taken != parked:
        raise RuntimeError(f"{taken} of {parked} delivered")
    return [
        Figure(f"Odoo away: images made, {parked} of them", parked / made, "1/s"),
        Figure(f"redeliver --all of {parked}", seconds, "s", "under 60"),
    ]


async def _ask(stack: LocalStack, number: int) -> None:
    client = AsyncDuragenClient(stack.temporal_address, "default")
    todo = iter(range(number))

    async def lane() -> None:
        for _ in todo:
            await client.start(event(stack))

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))


async def _until_made(stack: LocalStack, number: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while _made(stack) < number:  # noqa: ASYNC110  # it is in other processes
            await asyncio.sleep(0.5)


async def _until_parked(client: Client, parked: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await client.count_workflows(PARKED_QUERY)).count < parked:  # noqa: ASYNC110  # it is in other processes
            await asyncio.sleep(0.5)


async def _redeliver(stack: LocalStack) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.cli", "redeliver", "--all"),
        env=environment_of_part(stack.environment) | {"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def _made(stack: LocalStack) -> int:
    with closing(sqlite3.connect(stack.home / "images/images.sqlite")) as db:
        [count] = db.execute("SELECT count(*) FROM calls").fetchone()
        return int(count)


def _delivered(stack: LocalStack) -> int:
    with closing(sqlite3.connect(stack.home / "odoo/odoo.sqlite")) as db:
        [count] = db.execute(
            "SELECT count(DISTINCT request_id) FROM deliveries WHERE effect = 'applied'"
        ).fetchone()
        return int(count)
