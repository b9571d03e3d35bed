"""`make chaos`: break things, and count what came of it.

    python -m tests.chaos --rows "worker kill -9,Odoo" --generations 50 --json chaos.json

A run of all rows with at least 200 generations each is kept as docs/reliability.json, and its table
is put into docs/reliability.md. Exit code 0 only when every row holds.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.chaos.report import DOCS, as_json, keep, publish, show
from tests.chaos.rows import ROWS, Row
from tests.chaos.running import Settings, carried, run_rows

ENOUGH = 200

MOST, SHARE_OF_CARRIED = 8.0, 0.5
"""Generations a second, and of what the machine carries: three stacks share it."""


def _chosen(names: str | None) -> list[Row]:
    """The rows whose names contain one of the words."""
    if not names:
        return list(ROWS)
    words = [word.strip().lower() for word in names.split(",")]
    if unknown := [w for w in words if not any(w in row.name.lower() for row in ROWS)]:
        listed = ", ".join(row.name for row in ROWS)
        raise SystemExit(f"no such row: {', '.join(unknown)}; there are {listed}")
    return [row for row in ROWS if any(word in row.name.lower() for word in words)]


def _rate(carried: float, console: Console) -> float:
    rate = min(MOST, carried * SHARE_OF_CARRIED)
    console.print(f"{carried:.1f} generations/s are carried; {rate:.1f} are started", style="dim")
    return rate


def main() -> int:
    """Reads the options, runs, reports."""
    options = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    options.add_argument("--rows", help="comma-separated parts of names; all when not given")
    options.add_argument("--generations", type=int, default=ENOUGH, help="of each row")
    options.add_argument(
        "--rate", type=float, help="generations started a second; else what the machine carries"
    )
    options.add_argument("--seed", type=int, default=1, help="of the moments and the shares")
    options.add_argument("--json", type=Path, help="where the figures are written")
    options.add_argument("--keep", type=Path, help="keep the stacks' folders below this one")
    given = options.parse_args()
    rows = _chosen(given.rows)
    console = Console()
    rate = given.rate or _rate(asyncio.run(carried(given.seed)), console)
    settings = Settings(given.generations, rate, given.seed, given.keep)
    began = time.monotonic()
    results = asyncio.run(run_rows(rows, settings, console))
    kept = as_json(results, settings, time.monotonic() - began)
    show(results, console)
    whole = len(rows) == len(ROWS) and given.generations >= ENOUGH
    if file := given.json or (DOCS / "reliability.json" if whole else None):
        keep(kept, file)
        console.print(f"kept in {file}")
    if whole:
        publish(results, kept, DOCS / "reliability.md")
    else:
        console.print(f"Part of the rows, or fewer than {ENOUGH} generations: a trial, no proof.")
    return 0 if kept["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
