"""The command `duragen worker`."""

import sys
from typing import Annotated

import typer
import uvloop

from otel.logs import configure_logging
from peers.settings import EXIT_SETTINGS, SettingsError
from peers.terminal import complain
from workers.process import run_worker
from workers.settings import Settings


def worker(
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", "-q", help="generation or provider.<name>; may be repeated; all if omitted"
        ),
    ] = None,
) -> None:
    """Serve task queues until SIGTERM or Ctrl-C; running work is finished or handed back."""
    try:
        settings = Settings.read()
        if queues:
            settings = settings.with_queues(tuple(queues))
    except SettingsError as error:
        complain(error)
        raise typer.Exit(EXIT_SETTINGS) from None
    configure_logging()
    if settings.worker.sandbox:
        # It imports the workflow's module anew for each run: without bytecode on disk (images often
        # set PYTHONDONTWRITEBYTECODE) it would be compiled each time, a tenth of the CPU.
        sys.dont_write_bytecode = False
    try:
        uvloop.run(run_worker(settings))
    except SettingsError as error:
        complain(error)
        raise typer.Exit(EXIT_SETTINGS) from None
