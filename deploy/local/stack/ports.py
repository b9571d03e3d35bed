"""Which port each part listens on: settings with defaults, 0 for any free one."""

import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from deploy.local.sandbox.serving import HOST
from deploy.local.stack.private import write_private

# Below the range from which systems take ports of outgoing connections: a port picked there could
# be gone by the time the part binds it.
_FREE = range(15_000, 31_000)
_TRIES = 200


class PortTakenError(Exception):
    """Another program listens on a port that a part wants; the text says what to do."""


@dataclass(frozen=True)
class Ports:
    """The ports that people see; 0 takes a free one, the same again at the next start."""

    temporal: int = 0
    ui: int = 0
    s3: int = 0
    images: int = 0
    odoo: int = 0
    notifications: int = 0
    gateway: int = 0
    worker: int = 0
    receiver: int = 0
    """Where a developer's own receiver of webhooks may listen; no part of the stack does."""


STANDARD_PORTS = Ports(
    temporal=7_233,
    ui=8_233,
    s3=8_333,
    images=8_091,
    odoo=8_169,
    notifications=8_093,
    gateway=8_090,
    worker=8_089,
    receiver=8_096,
)
"""What `duragen up` takes when nothing else is said."""

PART_OF_PORT = {
    "temporal": "temporal",
    "ui": "temporal",
    "s3": "store",
    "images": "images",
    "odoo": "odoo",
    "notifications": "notifications",
    "gateway": "gateway",
    "worker": "worker",
}
"""Which part listens on which of the ports; none on the receiver's."""

_WHAT = {
    "temporal": "the Temporal server",
    "ui": "Temporal's Web UI",
    "s3": "the S3 store",
    "images": "the sandbox image service",
    "odoo": "the sandbox Odoo",
    "notifications": "the notification sandbox",
    "gateway": "the gateway",
    "worker": "the worker's health endpoint",
}


def free(port: int) -> bool:
    """Whether `port` can be listened on now, on loopback."""
    with socket.socket() as probe:
        # As servers do: a port whose old connections only linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        # A server on 0.0.0.0 may leave loopback bindable (macOS), yet take the connections.
        with socket.socket() as caller:
            caller.settimeout(0.2)
            return caller.connect_ex((HOST, port)) != 0


def _reserve(port: int) -> TextIO | None:
    """A lock on `port` that other stacks of this user see; None when one of them has it.

    Between the choice of a port and the server that listens there seconds pass. The kernel lets go
    of the lock when it is closed, or when the process dies.
    """
    folder = Path(tempfile.gettempdir()) / f"duragen-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = (folder / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


class PortRegistry:
    """Hands out ports and remembers the free ones it picked, in a file of the home folder.

    No other registry hands them out before `release`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._known: dict[str, int] = json.loads(file.read_text())
        except (OSError, ValueError):
            self._known = {}
        self._given: set[int] = set()
        self._locks: list[TextIO] = []

    def settle(self, wanted: Ports, parts: Collection[str]) -> Ports:
        """The ports with every 0 replaced. Raises PortTakenError for a part that will start."""
        settled = {}
        for name, port in asdict(wanted).items():
            if port and PART_OF_PORT.get(name) in parts and not free(port):
                raise PortTakenError(
                    f"Port {port} is taken, and {_WHAT[name]} wants it. End what listens there, or"
                    f" give another port: --{name}-port PORT or DURAGEN_LOCAL_{name.upper()}_PORT"
                    " (0 takes any free one)."
                )
            settled[name] = port or self.pick(name)
            self._given.add(settled[name])
        return Ports(**settled)

    def pick(self, name: str) -> int:
        """A free port, the same as last time if it still is free."""
        known = self._known.get(name)
        candidates: Iterable[int] = random.sample(_FREE, _TRIES)  # 16,000 to choose from
        for port in ([known] if known else []) + list(candidates):
            if port in self._given or not (lock := _reserve(port)):
                continue
            if not free(port):
                lock.close()
                continue
            self._locks.append(lock)
            self._given.add(port)
            self._known[name] = port
            write_private(self._file, json.dumps(self._known, indent=2))
            return port
        raise PortTakenError(f"No free port was found for {name} on {HOST}.")

    def release(self) -> None:
        """Let others have the ports: what listened there has ended."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()
