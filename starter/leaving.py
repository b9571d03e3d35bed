"""Leaving a process that used the Temporal SDK, with the right exit code.

The SDK runs native threads that may still hold a Python thread state when the interpreter tears
itself down; a short-lived process then dies by SIGABRT or SIGSEGV after its work is done, about
once in a hundred runs (temporalio/sdk-python issue 300; dropping the SDK's runtime beforehand helps
but is not enough). So the teardown is left out: everything Python does at exit is done, threads
are joined, exit functions run, output is flushed, and then the process ends at once.
"""

import atexit
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from starter import own_packages

WRONG_SETUP = 2
"""As for wrong settings: starting again does not help."""

INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""


def run_and_leave(program: Callable[[], int]) -> NoReturn:
    """Run the program and end the process with what it returns.

    Refuses to run where another package has the name of one of ours.
    Call it before importing what registers exit functions: those registered later run earlier.
    """
    codes: list[int] = []
    atexit.register(_end, codes)
    codes.append(_code_of(program))
    sys.exit(codes[0])


def _code_of(program: Callable[[], int]) -> int:
    try:
        own_packages.check()
        return program()
    except own_packages.ForeignPackageError as error:
        _complain(str(error))
        return WRONG_SETUP
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        _complain(str(end.code))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException:  # noqa: BLE001  # the interpreter's own report, which `_end` would skip
        _complain(traceback.format_exc())
        return 1


def _complain(text: str) -> None:
    # As `peers.terminal` does, for that may be another package's here: what a terminal would obey
    # is written as Python writes it, such as `\x1b`.
    plain = (c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    sys.stderr.write(f"{''.join(plain)}\n")


def _end(codes: list[int]) -> None:
    logging.shutdown()  # registered at its import, before us, so it would never run
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a closed pipe: its reader has ended
            continue
    os._exit(codes[0] if codes else 1)
