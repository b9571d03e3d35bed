"""How long operators' commands take, and the count of the backlog watch."""

import asyncio
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

from temporalio.client import Client

from activities.backlog import BacklogActivities
from contracts.alerts import CountTask
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.local_stack import LocalStack
from starter.cli.exits import DONE, STILL_RUNNING

WATCHED = str(uuid.UUID(int=1))
"""The request that `watch` looks at."""

COMMANDS = {
    "parked": ("parked",),
    "parked --json": ("parked", "--json"),
    "failed": ("failed",),
    "watch": ("watch", WATCHED, "--timeout", "0"),
}
"""By the name in the table. `failed` reads all, to count by code; `parked --json` writes all."""

BACKLOG_COUNT = "count of the backlog watch"
TIMES = 3
FAILED_WINDOW_SECONDS = 300


async def timed(stack: LocalStack, client: Client) -> dict[str, float]:
    """Seconds that each takes, the median of three; a command starts Python, too.

    Without a worker `watch` waits a second for one before it asks the server.
    """
    found = {
        name: await _median(partial(_run, stack, command)) for name, command in COMMANDS.items()
    }
    count = BacklogActivities(client).count_backlog
    window = CountTask(window_seconds=FAILED_WINDOW_SECONDS)
    found[BACKLOG_COUNT] = await _median(partial(count, window))
    return found


async def _median(work: Callable[[], Awaitable[object]]) -> float:
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def _run(stack: LocalStack, command: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.cli", *command),
        env=environment_of_part(stack.environment),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode not in {DONE, STILL_RUNNING}:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}: {said.decode()}")
