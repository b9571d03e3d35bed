"""Throughput and latency over how many generations are in flight, for a plot."""

from typing import TypedDict

from benchmarks.load import under_load
from benchmarks.measures import percentile
from benchmarks.systems import DURAGEN, N8N_STORED

LOADS = ((1, 100), (10, 200), (50, 400), (100, 500), (200, 800), (500, 1_500))
"""In flight, and how many generations are measured."""


class Point(TypedDict):
    """One point of both lines of a system: generations a second, and the milliseconds they took."""

    system: str
    in_flight: int
    rate: float
    p50: float
    p95: float


async def curve(loads: tuple[tuple[int, int], ...] = LOADS) -> list[Point]:
    """An image service that answers at once; Duragen first, then N8N that stores the image."""
    points = []
    for system in (DURAGEN, N8N_STORED):
        async with system.running() as somebody:
            for in_flight, runs in loads:
                rate, seconds, _ = await under_load(somebody, in_flight, runs)
                points.append(
                    Point(
                        system=system.name,
                        in_flight=in_flight,
                        rate=rate,
                        p50=percentile(seconds, 50) * 1e3,
                        p95=percentile(seconds, 95) * 1e3,
                    )
                )
    return points
