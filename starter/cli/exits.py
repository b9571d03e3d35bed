"""Exit codes, and the one clear line that goes with each error."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from contracts.plain import one_line
from peers import terminal

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
CONFLICT = 5
UNAUTHORIZED = 6
STILL_RUNNING = 7
SETUP = 8
INTERNAL = 70
INTERRUPTED = 130


def complain(text: str) -> None:
    """Write one message to stderr."""
    terminal.complain(f"duragen: {text}")


@contextmanager
def errors_reported(target_name: str) -> Iterator[None]:
    """Turn the client's errors into a line on stderr, which names the target, and an exit code.

    Ctrl-C leaves quietly: the generation goes on without its watcher.
    """
    from starter import client  # noqa: PLC0415  # costs a quarter of a second, so not for --help

    try:
        yield
    except client.ValidationError as error:
        for fault in error.errors:
            complain(one_line(f"{fault['field']}: {fault['message']}"))
        raise typer.Exit(USAGE) from None
    except client.LimitedError as error:
        complain(f"{one_line(error)}; then send it again")
        raise typer.Exit(UNREACHABLE) from None
    except client.UnavailableError as error:
        complain(f"{one_line(error)}. Is {target_name} running, and is the address right?")
        raise typer.Exit(UNREACHABLE) from None
    except client.NotFoundError:
        complain(f"there is no such generation at {target_name}; check the id")
        raise typer.Exit(NOT_FOUND) from None
    except client.ConflictError as error:
        complain(f"{one_line(error)}; take a new request id")
        raise typer.Exit(CONFLICT) from None
    except client.UnauthorizedError as error:
        complain(f"{one_line(error)}. Give the right key to {target_name}")
        raise typer.Exit(UNAUTHORIZED) from None
    except client.DuragenError as error:
        complain(f"{one_line(error)}. `duragen doctor` says how to fix it")
        raise typer.Exit(SETUP) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
