"""The command `duragen`, and its exit codes.

0    done; `watch`: completed            5    the requestId is taken by another payload
1    failed, canceled, not all done      6    no key, or a wrong one
2    wrong usage, event or settings      7    `watch`: still running when `--timeout` had passed
3    no answer                           8    Temporal is not set up for us
4    no such generation                  70   a fault of ours
130  Ctrl-C
"""

import sys
from typing import NoReturn

from starter.leaving import run_and_leave


def _program() -> int:
    # Imported after `run_and_leave` has registered its exit function: later ones run earlier.
    from starter.cli.app import run  # noqa: PLC0415

    return run(sys.argv[1:])


def main() -> NoReturn:
    """Run the console script."""
    run_and_leave(_program)
