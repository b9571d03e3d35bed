"""Whatever is parsed, each example of it takes little memory and time."""

import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

P = ParamSpec("P")

MOST_MEBIBYTES = 100.0
MOST_CPU_SECONDS = 5.0
"""Of the CPU, which others on the machine do not take away. Each takes some milliseconds."""


def within_bounds(test: Callable[P, None]) -> Callable[P, None]:
    """Fail an example by which this process grows, or computes, more than that.

    Put below `@given`, so that it looks at each example.
    """

    @wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        forget_peak()
        before, begun = peak_kib(), time.process_time()
        test(*arguments, **named)
        seconds, grown = time.process_time() - begun, (peak_kib() - before) / 1024
        assert grown < MOST_MEBIBYTES, f"{grown:.0f} MiB more"
        assert seconds < MOST_CPU_SECONDS, f"{seconds:.1f} s of CPU"

    return run


def peak_kib(pid: int | str = "self") -> int:
    """The most memory of a process since `forget_peak`. man 5 proc, VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def forget_peak(pid: int | str = "self") -> None:
    """Count from what it takes now."""
    # Not ru_maxrss: a child begins with its parent's.
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
