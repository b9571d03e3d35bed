"""`python -m workers`: the worker, as `duragen worker` starts it."""

import typer

from workers.cli import worker

typer.run(worker)
