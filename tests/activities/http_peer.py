"""A real HTTP peer on loopback that answers, byte for byte, with what a test has set."""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.ports import free_port


class Received(NamedTuple):
    """A request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


Reply = Callable[[Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What happens after a request was read; the connection is closed afterwards."""


class Peer:
    """Answers with `script` in its order, and with its last reply from then on."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.received: list[Received] = []
        self.arrived = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """The origin."""
        return f"http://127.0.0.1:{self.port}"

    def says(self, *replies: Reply) -> None:
        """Forget what was, and answer with `replies` from now on."""
        self.script = deque(replies)
        self.received.clear()
        self.arrived.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            received = await _read(reader, writer)
            self.received.append(received)
            self.arrived.set()
            reply = self.script.popleft() if len(self.script) > 1 else self.script[0]
            await reply(received, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left, as some tests want it to
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body)


@asynccontextmanager
async def listening(port: int | None = None) -> AsyncIterator[Peer]:
    """A peer on a port that no other test process calls, or on this one."""
    peer = Peer()
    peer.port = port or free_port()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", peer.port, limit=1024 * 1024)
    try:
        yield peer
    finally:
        server.close()


def refusing_url() -> str:
    """An origin where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def raw(*pieces: bytes) -> Reply:
    """These bytes, and the end of the connection."""

    async def reply(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return reply


def answer(
    status: int = 200,
    body: bytes | str | dict[str, Any] | list[Any] = b"",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A whole answer; a dict or list is sent as JSON."""
    kind = "application/json" if isinstance(body, dict | list) else "text/plain"
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    fields = {"content-type": kind, "content-length": str(len(body)), "connection": "close"}
    fields |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return raw(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode("latin-1"), body)


def chunked(body: bytes) -> Reply:
    """200 with a body whose length is not announced."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    return raw(head, f"{len(body):x}\r\n".encode(), body, b"\r\n0\r\n\r\n")


def html(status: int = 200) -> Reply:
    """A web page where something else should be."""
    page = "<!doctype html><title>Maintenance</title><h1>We will be back soon</h1>"
    return answer(status, page, {"content-type": "text/html; charset=utf-8"})


async def hang(_: Received, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Nothing at all, until the client leaves."""
    await reader.read()


async def reset(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The connection is broken (RST), as by a crash or a cut cable."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drip(_: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A right answer that never ends: a byte now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
    while not reader.at_eof():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)
