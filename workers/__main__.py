"""`python -m workers`: the worker, as `duragen worker` starts it."""

from starter.leaving import run_and_leave


def _program() -> int:
    # Imported here, after the exit was arranged, so that what this does at exit is done.
    import typer  # noqa: PLC0415

    from workers.cli import worker  # noqa: PLC0415

    typer.run(worker)
    return 0


run_and_leave(_program)
