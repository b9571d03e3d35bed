"""The same load for long: whether memory and rate stay what they were."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psutil

from benchmarks.forgetting import images_forgotten
from benchmarks.load import PARTS, Asking, Peak, asking, fresh_stack
from benchmarks.measures import Figure
from deploy.local.stack.local_stack import LocalStack

IN_FLIGHT = 50
SAMPLE_SECONDS = 5.0

Sample = dict[str, float]
"""`seconds` since the start, `rate` since the sample before, and MB of each part by its name."""


async def soaked(minutes: float) -> tuple[list[Figure], dict[str, Any]]:
    """50 in flight for so many minutes: the figures, and the samples for a plot.

    Images are deleted a minute after they were stored. Histories stay in Temporal's database for
    its retention, a day: its file grows, and its caches fill. What the sandboxes write down of each
    call is on disk, in SQLite.
    """
    with fresh_stack(0) as stack:
        async with asking(stack) as somebody, images_forgotten(stack):
            peak = Peak(psutil.Process(stack.supervisor("worker").pid))
            load = _Load(somebody, minutes * 60)
            async with peak.watched(), _sampled(stack, load) as samples:
                await load.run()
    figures = list(_figures(samples, peak.megabytes))
    return figures, {"in_flight": IN_FLIGHT, "samples": samples}


class _Load:
    """So many in flight until the time is over; `done` counts."""

    def __init__(self, somebody: Asking, seconds: float) -> None:
        self._somebody = somebody
        self._end = time.monotonic() + seconds
        self.done = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(IN_FLIGHT):
                lanes.create_task(self._lane())

    async def _lane(self) -> None:
        while time.monotonic() < self._end:
            await self._somebody.generate()
            self.done += 1


@asynccontextmanager
async def _sampled(stack: LocalStack, load: _Load) -> AsyncIterator[list[Sample]]:
    parts = {part: psutil.Process(stack.supervisor(part).pid) for part in PARTS}
    samples: list[Sample] = []

    async def look() -> None:
        began = at = time.monotonic()
        done = 0
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            now = time.monotonic()
            rate, at, done = (load.done - done) / (now - at), now, load.done
            memory = {part: process.memory_info().rss / 1e6 for part, process in parts.items()}
            rounded = {name: round(value, 1) for name, value in memory.items()}
            samples.append({"seconds": round(now - began, 1), "rate": round(rate, 2), **rounded})

    looking = asyncio.create_task(look())
    try:
        yield samples
    finally:
        looking.cancel()


def _figures(samples: list[Sample], peak: float) -> Iterator[Figure]:
    """The first tenth of the time warms up; the tenths that are compared are those of the rest."""
    steady = samples[-(-len(samples) // 10) :]
    many = max(len(steady) // 10, 1)
    first, last = steady[:many], steady[-many:]
    name = f"{IN_FLIGHT} in flight for {samples[-1]['seconds'] / 60:.3g} min"
    yield Figure(f"{name}: worker memory, peak", peak, "MB", "under 250")
    for which, tenth in (("first", first), ("last", last)):
        yield Figure(
            f"{name}: worker memory, median of the {which} tenth",
            statistics.median(each["worker"] for each in tenth),
            "MB",
        )
        yield Figure(
            f"{name}: generations, {which} tenth",
            statistics.fmean(each["rate"] for each in tenth),
            "1/s",
        )
    hours = [each["seconds"] / 3600 for each in steady]
    for part in PARTS:
        slope, _ = statistics.linear_regression(hours, [each[part] for each in steady])
        aim = "flat" if part == "worker" else ""
        yield Figure(f"{name}: {part} memory grows by (least squares)", slope, "MB/h", aim)
