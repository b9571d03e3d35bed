"""Thousands of generations that wait: what that costs, and whether it is a line or a curve.

Two ways of waiting: `waiting`, with the workers stopped, and `parked`, with Odoo away. What is
parked is a failure, of a model that the settings do not have: it is delivered as an image is, and
costs no image. Every number has a stack of its own.
"""

import asyncio
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, product
from typing import Any, NamedTuple

import psutil
from temporalio.client import Client

from benchmarks.commands import WATCHED, timed
from benchmarks.load import PARTS, Peak, event, fresh_stack
from benchmarks.measures import Figure
from contracts.names import PARKED_QUERY
from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient

AT_ONCE = 50
FIRST = 1_000
"""Deliveries that the rate is taken from, once work resumes; fewer where fewer wait."""

NOTICED_SECONDS = 0.1
"""Below this a difference is the machine's own unrest."""

AWAY = {"waiting": "worker", "parked": "odoo"}
"""Which part is away, by the state that it leaves generations in."""

PATIENCE_SECONDS = 3_600.0


class Row(NamedTuple):
    """So many in one state. Rates in 1/s, memory and database in MB, times in seconds."""

    state: str
    number: int
    started: float
    """By a client, 50 at a time; where Odoo is away a worker is busy beside it."""
    parked: float | None
    """From the first start until all are parked."""
    memory: dict[str, float]
    """Of each part that runs, while so many wait."""
    database: float
    """Temporal's SQLite file with its write-ahead log."""
    empty: dict[str, float]
    """What each command takes when nothing waits."""
    commands: dict[str, float]
    """What each takes with so many; the median of three."""
    until_first: float
    """From the start of what was away (worker, Odoo) until the first delivery after it."""
    resumed: float
    """The first 1,000 deliveries after that."""
    worker_peak: float
    """Until 1,000 are delivered."""


async def grown(numbers: Sequence[int]) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Each number in both states: the figures, and the rows for a plot."""
    rows = []
    for state, number in product(AWAY, numbers):
        rows.append(await _held(state, number))
        # A long run that ends halfway has not been for nothing.
        print(json.dumps(rows[-1]._asdict()))
    figures = chain(*(_figures(row) for row in rows), _lines(rows))
    return list(figures), [row._asdict() for row in rows]


async def _held(state: str, number: int) -> Row:
    with fresh_stack(0) as stack:
        client = await Client.connect(stack.temporal_address)
        away = stack.supervisor(AWAY[state])
        await asyncio.to_thread(away.stop)
        model = {"modelId": str(uuid.uuid4())} if state == "parked" else {}
        await _start(stack, [event(stack) | model | {"requestId": WATCHED}])
        if state == "parked":
            await _until_parked(client, 1)
        empty = await timed(stack, client)
        began = time.perf_counter()
        await _start(stack, [event(stack) | model for _ in range(number)])
        started = parked = time.perf_counter() - began
        if state == "parked":
            await _until_parked(client, number + 1)
            parked = time.perf_counter() - began
        print(f"{number:,} {state} after {parked:.0f} s")
        commands, memory, database = await timed(stack, client), _memory(stack), _database(stack)
        resuming = time.time()
        away.start()
        await asyncio.to_thread(away.wait)
        peak = Peak(psutil.Process(stack.supervisor("worker").pid))
        async with peak.watched():
            at = await _first_delivered(stack, number)
    return Row(
        state,
        number,
        started=number / started,
        parked=number / parked if state == "parked" else None,
        memory=memory,
        database=database,
        empty=empty,
        commands=commands,
        until_first=at[0] - resuming,
        resumed=(len(at) - 1) / (at[-1] - at[0]),
        worker_peak=peak.megabytes,
    )


async def _start(stack: LocalStack, events: Sequence[dict[str, Any]]) -> None:
    client = AsyncDuragenClient(stack.temporal_address, "default")
    todo = iter(events)

    async def lane() -> None:
        for each in todo:
            await client.start(each)

    async with asyncio.TaskGroup() as lanes:
        for _ in range(AT_ONCE):
            lanes.create_task(lane())


async def _until_parked(client: Client, number: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            began = time.perf_counter()
            if (await client.count_workflows(PARKED_QUERY)).count >= number:
                return
            # A count of 50,000 keeps SQLite busy for half a second: looking must not be the load.
            await asyncio.sleep(max(0.5, 20 * (time.perf_counter() - began)))


async def _first_delivered(stack: LocalStack, number: int) -> list[float]:
    wanted = min(number, FIRST)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(at := _delivered_at(stack, wanted)) < wanted:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.5)
    return at


def _delivered_at(stack: LocalStack, most: int) -> list[float]:
    with closing(sqlite3.connect(stack.home / "odoo/odoo.sqlite")) as db:
        rows = db.execute(
            "SELECT at FROM deliveries WHERE effect = 'applied' ORDER BY id LIMIT ?", (most,)
        )
        return [at for (at,) in rows]


def _memory(stack: LocalStack) -> dict[str, float]:
    pids = {part: stack.supervisor(part).pid for part in PARTS}
    return {part: psutil.Process(pid).memory_info().rss / 1e6 for part, pid in pids.items() if pid}


def _database(stack: LocalStack) -> float:
    files = (stack.home / "temporal").glob("temporal.sqlite*")
    return sum(file.stat().st_size for file in files) / 1e6


def _figures(row: Row) -> Iterator[Figure]:
    name = f"{row.number:,} {row.state}"
    yield Figure(f"{name}: started", row.started, "1/s")
    if row.parked:
        yield Figure(f"{name}: parked, from the first start", row.parked, "1/s")
    yield Figure(f"{name}: {AWAY[row.state]} is back, first delivery after", row.until_first, "s")
    yield Figure(f"{name}: first {min(row.number, FIRST):,} deliveries", row.resumed, "1/s")
    for part, memory in row.memory.items():
        yield Figure(f"{name}: memory, {part}", memory, "MB")
    yield Figure(f"{name}: worker memory, peak", row.worker_peak, "MB")
    yield Figure(f"{name}: Temporal's database", row.database, "MB")
    for command, seconds in row.commands.items():
        yield Figure(f"{name}: {command} (none: {row.empty[command]:.2f} s)", seconds, "s")


def _lines(rows: list[Row]) -> Iterator[Figure]:
    """For each command: its time for 1,000 at the largest number over that at the smallest.

    1 is a line, more is a curve; what takes no longer than with none waiting has no such figure.
    """
    for state in AWAY:
        found = [row for row in rows if row.state == state]
        least, most = (pick(found, key=lambda row: row.number) for pick in (min, max))
        for command in most.commands if most.number > least.number else ():
            more = most.commands[command] - most.empty[command]
            if more < NOTICED_SECONDS:
                continue
            before = max(least.commands[command] - least.empty[command], NOTICED_SECONDS)
            name = (
                f"{state}: {command}, a thousand among {most.number:,} over one of {least.number:,}"
            )
            yield Figure(name, more / most.number / (before / least.number), "", "at most 1")
