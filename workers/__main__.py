"""`python -m workers`: the worker, as `duragen worker` starts it."""

import typer

from starter.leaving import run_and_leave
from workers.cli import worker


def _program() -> int:
    typer.run(worker)
    return 0


run_and_leave(_program)
