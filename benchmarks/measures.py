"""What is measured of Duragen on the embedded stack, with the load on the same machine."""

import asyncio
import statistics
import time
from typing import NamedTuple

import psutil

from benchmarks.load import PARTS, Lane, Peak, asking, cpu_seconds, fresh_stack, many


class Figure(NamedTuple):
    """One row of the table; `unit` says what `value` is, `aim` what the project wants of it."""

    name: str
    value: float
    unit: str
    aim: str = ""


async def until_odoo_has_it(runs: int = 100) -> list[Figure]:
    """One at a time: from the call of `start` to Odoo's own time stamp of the delivery."""
    with fresh_stack(0) as stack:
        async with asking(stack) as somebody:
            seconds = [await somebody.generate() for _ in range(runs)]
    return [
        Figure("submit to delivered, p50", percentile(seconds, 50) * 1e3, "ms", "under 56"),
        Figure("submit to delivered, p95", percentile(seconds, 95) * 1e3, "ms"),
    ]


async def throughput(in_flight: int, latency_seconds: float, runs: int) -> list[Figure]:
    """So many in flight all the time; the worker's CPU and memory are the operating system's."""
    name = f"{in_flight} in flight, latency {latency_seconds:g} s"
    with fresh_stack(latency_seconds) as stack:
        async with asking(stack) as somebody:
            parts = {part: psutil.Process(stack.supervisor(part).pid) for part in PARTS}
            before = {part: cpu_seconds(process) for part, process in parts.items()}
            peak = Peak(parts["worker"])
            started = time.perf_counter()
            async with peak.watched():
                await many(in_flight, runs, somebody.generate)
            seconds = time.perf_counter() - started
            used = {part: cpu_seconds(process) - before[part] for part, process in parts.items()}
    aim = "over 38" if (in_flight, latency_seconds) == (50, 0) else ""
    return [
        Figure(f"{name}: generations", runs / seconds, "1/s", aim),
        Figure(f"{name}: worker memory, peak", peak.megabytes, "MB", "under 250"),
        *(
            Figure(
                f"{name}: CPU a generation, {part}",
                cpu / runs * 1e3,
                "ms",
                "at most 18" if part == "worker" else "",
            )
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
        Figure(f"{name}: average", statistics.fmean(seconds) * 1e3, "ms", "under 200"),
        Figure(f"{name}: p95", percentile(seconds, 95) * 1e3, "ms", "under 500"),
    ]


def percentile(values: list[float], percent: int) -> float:
    """The value below which so many percent lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
