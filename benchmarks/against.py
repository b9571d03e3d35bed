"""Duragen against N8N, and against bare Temporal: measured in turn, compared round by round.

The same load, image service, Odoo and clock for all (`benchmarks.load`). The aims are against the
N8N that stores the image, as Duragen does. The two that do less are compared with 50 in flight
alone, as bare Temporal is. What each leaves out is said in `benchmarks/n8n/server.py` and
`benchmarks/bare_temporal.py`.
"""

import statistics
from collections import defaultdict

from benchmarks.load import images_take, under_load
from benchmarks.measures import Figure, percentile
from benchmarks.systems import (
    BARE_TEMPORAL,
    DURAGEN,
    N8N_HANDED_ON,
    N8N_STORED,
    N8N_THROWN_AWAY,
    System,
)

ROUNDS = 3
ALONE = "one at a time, p50"
MANY = "50 in flight"
SLOW = "200 in flight, latency 2 s"
CPU = "50 in flight, CPU a generation, all servers"
UNITS = {ALONE: "ms", MANY: "1/s", SLOW: "1/s", CPU: "ms"}

Measured = dict[str, dict[str, list[float]]]
"""By system, then by what was measured: a value for each round."""


async def against(
    rounds: int = ROUNDS, alone: int = 100, at_once: int = 500, slow: int = 800
) -> list[Figure]:
    """The ratios, in medians of the rounds, and what they are made of.

    Every second round has the systems in the opposite order, so that a machine that gets slower or
    faster favours none.
    """
    measured: Measured = defaultdict(lambda: defaultdict(list))
    systems = [DURAGEN, N8N_STORED, N8N_HANDED_ON, N8N_THROWN_AWAY, BARE_TEMPORAL]
    for _ in range(rounds):
        for system in systems:
            await _measure(system, measured[system.name], alone, at_once, slow)
        systems.reverse()
    return [
        _ratio(measured, MANY, DURAGEN, N8N_STORED, "at least 3.5"),
        _ratio(measured, SLOW, DURAGEN, N8N_STORED, "at least 3.5"),
        _ratio(measured, ALONE, DURAGEN, N8N_STORED, "at most 0.8"),
        _ratio(measured, MANY, DURAGEN, N8N_HANDED_ON),
        _ratio(measured, MANY, DURAGEN, N8N_THROWN_AWAY),
        _ratio(measured, MANY, DURAGEN, BARE_TEMPORAL, "at least 0.65"),
        *(
            Figure(f"{system}: {name}", statistics.median(values), UNITS[name])
            for system, seen in measured.items()
            for name, values in seen.items()
        ),
    ]


async def _measure(
    system: System, seen: dict[str, list[float]], alone: int, at_once: int, slow: int
) -> None:
    async with system.running() as somebody:
        seconds = [await somebody.generate() for _ in range(alone)]
        seen[ALONE].append(percentile(seconds, 50) * 1e3)
        loaded = await under_load(somebody, 50, at_once)
        seen[MANY].append(loaded.rate)
        seen[CPU].append(loaded.cpu_seconds * 1e3)
        if system in {DURAGEN, N8N_STORED}:
            await images_take(somebody.stack, 2)
            seen[SLOW].append((await under_load(somebody, 200, slow)).rate)


def _ratio(measured: Measured, name: str, one: System, other: System, aim: str = "") -> Figure:
    pairs = zip(measured[one.name][name], measured[other.name][name], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return Figure(f"{name}: {one.name} to {other.name}", ratio, "", aim)
