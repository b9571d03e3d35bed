"""A gateway as a process, and callers that speak TCP to it."""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bounded import forget_peak, peak_kib
from tests.ports import free_port
from tests.starter.entry_points import (
    KEY,
    make_event,
)
from tests.starter.test_gateway_process import SHA256, environment

MOST_MIB = 95
"""So much may a gateway grow by, whatever is done to it."""

HALF = b"GET /health HTTP/1.1\r\nHost: gateway\r\nX-Slow: "
"""Headers that do not end."""


class Attacked:
    """A running server: its ports and its process."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, health: int) -> None:
        self.process = process
        self.port = port
        self.health = health

    def connect(self, source: str = "127.0.0.1", port: int | None = None) -> socket.socket:
        """A connection from an address of this machine; what it awaits comes within a minute."""
        to = ("127.0.0.1", port or self.port)
        return socket.create_connection(to, timeout=60, source_address=(source, 0))

    def ask(self, request: bytes, *, source: str = "127.0.0.1", port: int | None = None) -> bytes:
        """All that comes back until the connection is closed; b"" when it is cut off."""
        with self.connect(source, port) as connection:
            connection.sendall(request)
            return until_closed(connection)

    def lives(self, port: int | None = None) -> bool:
        """Whether a fresh connection gets 200 of /health."""
        answer = self.ask(get("/health", "Connection: close"), port=port)
        return answer.startswith(b"HTTP/1.1 200 ")


@contextmanager
def attacked(
    folder: Path, temporal: str, settings: str = "", *, descriptors: int = 1_024
) -> Iterator[Attacked]:
    """A gateway that may open so many files."""
    port, health = free_port(), free_port()
    text = f"""
[gateway]
port = {port}
health_port = {health}
keys = [{{name = "odoo", sha256 = "{SHA256}"}}]
{settings}
[[odoo]]
origin = "http://odoo.example.com"
"""
    command = [sys.executable, "-m", "starter.gateway"]
    env = environment(folder, text, TEMPORAL_ADDRESS=temporal)
    with limited(command, env, descriptors) as process:
        server = Attacked(process, port, health)
        wait_until_live(server)
        # A generation, so that what is loaded for the first one does not count.
        assert server.ask(start_request()).startswith(b"HTTP/1.1 202 ")
        forget_peak(process.pid)
        before = peak_kib(process.pid)
        yield server
        assert process.poll() is None, "it died"
        grown = (peak_kib(process.pid) - before) / 1024
        assert grown < MOST_MIB, "it took too much memory"


@contextmanager
def limited(
    command: list[str], env: dict[str, str], descriptors: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, with at most so many open files."""
    shell = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
    process = subprocess.Popen(shell, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_live(server: Attacked) -> None:
    """Returns when it answers."""
    until = time.monotonic() + 60
    while True:
        try:
            if server.lives():
                return
        except ConnectionRefusedError:
            assert server.process.poll() is None, "it did not start"
        assert time.monotonic() < until
        time.sleep(0.05)


def start_request(*headers: str) -> bytes:
    """A proper request with a key, the last of its connection."""
    body = json.dumps(make_event())
    return post("Connection: close", f"Content-Length: {len(body)}", *headers) + body.encode()


def post(*headers: str) -> bytes:
    """The head of a POST with a key."""
    lines = [
        *("POST /v1/generations HTTP/1.1", "Host: gateway", "Content-Type: application/json"),
        *(f"Authorization: Bearer {KEY}", *headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def get(path: str, *headers: str) -> bytes:
    """A GET request."""
    lines = [f"GET {path} HTTP/1.1", "Host: gateway", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def until_closed(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    try:
        while some := connection.recv(65_536):
            received += some
    except ConnectionResetError:
        pass
    return received


def closed(connections: list[socket.socket]) -> int:
    """How many of these, which got no answer, the server has closed by now."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return len(poll.poll(0))


def wait_closed(connections: list[socket.socket], number: int) -> None:
    """Returns when the server has closed so many, and fails when it closes more."""
    until = time.monotonic() + 60
    while (count := closed(connections)) < number:
        assert time.monotonic() < until, f"{count} of {number} were closed"
        time.sleep(0.02)
    assert count == number
