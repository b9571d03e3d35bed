"""Running rows: each on a stack of its own, one load after the other, the waiting overlapped."""

import asyncio
import math
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from tests.chaos.judge import Figures, figures, verdict
from tests.chaos.rows import Row
from tests.chaos.scene import Scene
from tests.chaos.stage import Stage

ALIVE = 3
"""Stacks at a time. Most of a row is waiting: for heartbeats to be missed, for pauses to end."""

TRIAL = 60
"""Generations by which the machine's speed is measured."""

PATIENCE_SECONDS = 180.0
"""After load and fault have ended; what is still open then is lost."""


class Result(NamedTuple):
    """A row that was run; `row` is None when it broke, `wrong` says why it does not hold."""

    name: str
    row: Figures | None
    met: int
    seconds: float
    wrong: list[str]


class Settings(NamedTuple):
    """What all rows share; `rate` is generations a second."""

    generations: int
    rate: float
    seed: int
    keep: Path | None


async def carried(seed: int) -> float:
    """Generations a second that this machine carries when nothing is broken, all started at once.

    So the load of the rows follows the machine, and what must hold does not depend on its speed.
    """
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        setting = Stage.set_up(Path(folder), TRIAL, math.inf, 1, seed, Scene())
        async with setting as stage:
            began = time.monotonic()
            await stage.load.run(stage.http)
            if not await stage.closed(PATIENCE_SECONDS):
                raise RuntimeError("this machine carries no load at all")
            return TRIAL / (time.monotonic() - began)


async def run_rows(rows: list[Row], settings: Settings, console: Console) -> list[Result]:
    """All of them, in the order given; the long ones begin first."""
    alive, loading = asyncio.Semaphore(ALIVE), asyncio.Lock()

    async def one(row: Row) -> Result:
        async with alive:
            result = await _run(row, settings, loading)
            console.print(
                f"{'wrong' if result.wrong else 'holds'}  {row.name}", style=_style(result)
            )
            for text in result.wrong:
                console.print(f"       {text}", markup=False)
            return result

    by_length = sorted(rows, key=lambda row: -row.seconds)
    done = await asyncio.gather(*(one(row) for row in by_length))
    by_name = {result.name: result for result in done}
    return [by_name[row.name] for row in rows]


def _style(result: Result) -> str:
    return "red" if result.wrong else "green"


async def _run(row: Row, settings: Settings, loading: asyncio.Lock) -> Result:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        home = settings.keep / _file_name(row.name) if settings.keep else Path(folder)
        try:
            measured, met, wrong = await _measure(row, home, settings, loading)
        except Exception:  # noqa: BLE001  # whatever it was, the other rows are still worth their time
            text = f"the row broke: {traceback.format_exc(limit=-12)}"
            return Result(row.name, None, 0, time.monotonic() - began, [text])
    wrong += verdict(measured, row.expected)
    if row.met_needed and not met:
        wrong.append("the fault never happened")
    return Result(row.name, measured, met, time.monotonic() - began, wrong)


async def _measure(
    row: Row, home: Path, settings: Settings, loading: asyncio.Lock
) -> tuple[Figures, int, list[str]]:
    total, rate = settings.generations * row.times, settings.rate
    async with Stage.set_up(home, total, rate, row.copies, settings.seed, row.scene) as stage:
        watching = asyncio.create_task(stage.watch())
        async with loading:
            breaking = asyncio.create_task(row.fault(stage))
            await stage.load.run(stage.http)
        await breaking
        await stage.closed(PATIENCE_SECONDS)
        watching.cancel()
        evidence = await stage.evidence()
    measured = figures(evidence)
    wrong = stage.complaints + stage.second_odoo.complaints()
    return measured, row.met(stage, evidence, measured), wrong


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
