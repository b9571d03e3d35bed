"""Starts a program that dies with its parent: `python tether.py PARENT_PID PROGRAM ARGUMENT…`.

The kernel's parent-death signal must be asked for by the child itself, after the fork. Doing it in
a `preexec_fn` is unsafe in a process with threads, so this file runs in between and then becomes
the program: same process id, same start time. On other systems than Linux it only becomes the
program, and leftovers are found by their pid files.

What it writes its owner alone can read.

Standard library alone, and started isolated (`python -I -S`), so that it costs a few milliseconds.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks for SIGTERM at the parent's death, then becomes the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # only where it is of use

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have died before the line above: then the signal would never come.
        if os.getppid() != parent:
            sys.exit("the process that started this one is gone")
    os.umask(0o077)  # what it writes and where it listens is its owner's alone
    os.execv(program[0], program)  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main()
