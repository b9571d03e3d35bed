"""Processes that outlive their supervisor: recorded in pid files, recognised, ended.

A pid alone says little, for the system gives it to another process later. A record therefore holds
the start time as well: the pair names one process for ever.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from deploy.local.stack.private import private_folder, write_private

_GRACE_SECONDS = 5
_POLL_SECONDS = 0.02


class Process(NamedTuple):
    """One process, for ever. `started` is only good for comparing."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _started(self.pid) == self.started


def process_of(pid: int) -> Process | None:
    """The process that has `pid` now, None when there is none."""
    started = _started(pid)
    return Process(pid, started) if started else None


def _started(pid: int) -> str | None:
    if sys.platform == "linux":
        try:
            # After the last parenthesis, because a program may have any name. The state comes
            # first, the start time in ticks since the boot is the 20th.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        # A zombie has ended; in a container it may never be collected.
        return None if fields[0] in {"Z", "X"} else f"{boot}/{fields[19]}"
    asked = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    state, _, started = answer.partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def write(file: Path, process: Process) -> None:
    """Records the process; the file is replaced in one step, so that it is never half written."""
    private_folder(file.parent)
    write_private(file, json.dumps(process._asdict()))


def read(file: Path) -> Process | None:
    """The recorded process if it still runs, otherwise None."""
    try:
        process = Process(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return process if process.alive else None


def end(process: Process, grace_seconds: float = _GRACE_SECONDS) -> None:
    """SIGTERM, and after the grace SIGKILL; returns when the process is gone."""
    for sign, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, grace_seconds)):
        if not process.alive:
            return
        try:
            os.kill(process.pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while process.alive and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
