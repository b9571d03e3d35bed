"""One part of the stack: started, waited for, started again when it dies, ended.

Each part has a thread of its own, which lives as long as the part is wanted. That matters: the
kernel takes the death of the *thread* that started a process for the death of its parent.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.stack import processes, tether
from deploy.local.stack.private import open_private, private_folder

_POLL_SECONDS = 0.02
_FIRST_BACKOFF_SECONDS = 0.25
_MAX_BACKOFF_SECONDS = 10.0
_STEADY_SECONDS = 30.0
"""A part that ran this long begins again with the shortest backoff."""
_MAX_LOG_BYTES = 20_000_000
_TAIL_LINES = 15

Probe = Callable[[], None]
"""Raises as long as the part is not ready; says why in the exception."""


class PartFailedError(Exception):
    """A part did not come up; the text has its last log lines and what to do."""


@dataclass(frozen=True)
class Part:
    """What a part is: a program, and how to see that it is ready."""

    name: str
    command: Sequence[str]
    probe: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 60
    stop_seconds: float = 5
    killable: bool = False
    """SIGKILL does it no harm, so it is not reported that its time to stop ran out."""
    tidy: Callable[[], None] | None = None
    """What to clear away when the part has been ended."""


class Supervisor:
    """Keeps one part running."""

    def __init__(self, part: Part, home: Path, say: Callable[[str], None]) -> None:
        self.part = part
        self.log = home / "logs" / f"{part.name}.log"
        self.pid_file = home / "run" / f"{part.name}.json"
        self.ready = threading.Event()
        self._say = say
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._spawning = threading.Lock()  # so that no process starts after a stop
        self._failure: PartFailedError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the part runs."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> None:
        """Begins; returns at once."""
        self._stopping.clear()
        self._settled.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name=f"part-{self.part.name}")
        self._thread.daemon = True
        self._thread.start()

    def wait(self) -> None:
        """Returns when the part is ready for the first time. Raises PartFailedError."""
        self._settled.wait()
        if self._failure:
            raise self._failure

    def wait_ready(self, seconds: float) -> None:
        """Returns when the part is ready, also after an accident. Raises TimeoutError."""
        if not self.ready.wait(seconds):
            raise TimeoutError(f"{self.part.name} is not ready after {seconds:g} s: see {self.log}")

    def kill(self) -> None:
        """SIGKILL, as an accident would; the part comes back by itself."""
        if self._process:
            self.ready.clear()
            self._process.kill()

    def ask_to_stop(self) -> None:
        """SIGTERM, once; `stop` then waits for the end."""
        with self._spawning:
            if not self._stopping.is_set():
                self._stopping.set()
                if self._process:
                    self._process.terminate()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when its time is over; returns when the part is gone."""
        self.ask_to_stop()
        if self._thread is None:
            return
        self._thread.join(self.part.stop_seconds)
        if self._thread.is_alive() and self._process:
            if not self.part.killable:
                self._say(f"{self.part.name} did not end in {self.part.stop_seconds:g} s: killed")
            self._process.kill()
        self._thread.join()
        self._thread = None
        if self.part.tidy:
            self.part.tidy()

    def _run(self) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            ending = self._live()
            self.ready.clear()
            if self._stopping.is_set() or self._failure:
                break
            if time.monotonic() - began > _STEADY_SECONDS:
                backoff = _FIRST_BACKOFF_SECONDS
            self._say(f"{self.part.name} {ending}; again in {backoff:g} s ({self.log})")
            self._stopping.wait(backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)
        self._settled.set()

    def _live(self) -> str:
        """One life of the process, from its start to its end; returns how it ended."""
        with self._spawning:
            if self._stopping.is_set():
                return "was stopped"
            process = self._process = self._spawn()
        try:
            trouble = self._wait_ready(process)
            if trouble is None:
                self.ready.set()
                if self._settled.is_set():
                    self._say(f"{self.part.name} is back")
                self._settled.set()
            elif not self._settled.is_set() and not self._stopping.is_set():
                self._failure = PartFailedError(self._explain(trouble))
                process.kill()
            code = process.wait()
        finally:
            self.pid_file.unlink(missing_ok=True)
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def _spawn(self) -> "subprocess.Popen[bytes]":
        private_folder(self.log.parent)
        if self.log.exists() and self.log.stat().st_size > _MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))
        tethered = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        with open_private(self.log) as log:
            process = subprocess.Popen(
                [*tethered, *self.part.command],
                env=dict(self.part.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the supervisor's, not its parts'
            )
        if running := processes.process_of(process.pid):
            processes.write(self.pid_file, running)
        return process

    def _wait_ready(self, process: "subprocess.Popen[bytes]") -> str | None:
        """None when it is ready, otherwise what is wrong."""
        deadline = time.monotonic() + self.part.ready_seconds
        reason = ""
        while not self._stopping.is_set():
            if (code := process.poll()) is not None:
                return f"ended at once (exit code {code})"
            try:
                self.part.probe()
            except Exception as error:  # noqa: BLE001  # whatever it is, the part is not ready
                reason = f"{type(error).__name__}: {error}"
            else:
                return None
            if time.monotonic() > deadline:
                return f"is not ready after {self.part.ready_seconds:g} s ({reason})"
            self._stopping.wait(_POLL_SECONDS)
        return "was stopped"

    def _explain(self, trouble: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        tail = "\n".join(f"    {line[:300]}" for line in lines) or "    (it wrote nothing)"
        return (
            f"{self.part.name} {trouble}. The end of its log:\n{tail}\n"
            f"The whole of it: {self.log}. Fix what it says and start again; what was stored is"
            " kept."
        )
