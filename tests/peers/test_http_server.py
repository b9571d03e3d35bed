"""The guarded HTTP server by itself: what a caller without a key cannot do to it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from peers.connections import ConnectionLimits, _caller
from peers.http_server import served, server_config

LARGE = 64 * 1024 * 1024
"""More than the kernel keeps for one connection."""


async def small(_: Request) -> PlainTextResponse:
    """A short answer."""
    return PlainTextResponse("small")


async def large(_: Request) -> StreamingResponse:
    """One that fills whatever lies between the two."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(LARGE // 65_536):
            yield bytes(65_536)

    return StreamingResponse(parts())


@asynccontextmanager
async def serving(limits: ConnectionLimits) -> AsyncIterator[int]:
    """The two answers, served; the port."""
    app = Starlette(routes=[Route("/small", small), Route("/large", large)])
    listening = socket.create_server(("127.0.0.1", 0))
    config = server_config(app, limits, lifespan="off", timeout_graceful_shutdown=1)
    async with served(config, listening):
        yield listening.getsockname()[1]


async def ask(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with a request sent; it reads at most 64 KiB ahead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=32_768)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def test_who_does_not_read_gives_way() -> None:
    """A caller that leaves a large answer unread holds no place that another one needs."""
    limits = ConnectionLimits(1, header_seconds=300, idle_seconds=300, unread_seconds=300)
    async with serving(limits) as port:
        deaf, deaf_writer = await ask(port, "/large")
        # Until the answer fills what lies between the two, it is under way.
        async with asyncio.timeout(60):
            while True:
                reader, writer = await ask(port, "/small")
                answer = b""
                try:
                    answer = await reader.read(100)
                except ConnectionResetError:
                    continue
                finally:
                    writer.close()
                if answer.startswith(b"HTTP/1.1 200 "):
                    break
        assert await _length(deaf) < LARGE
        deaf_writer.close()


async def test_who_does_not_read_is_cut_off() -> None:
    """Also when nobody else needs the place."""
    limits = ConnectionLimits(9, header_seconds=300, idle_seconds=300, unread_seconds=0.1)
    async with serving(limits) as port:
        deaf, writer = await ask(port, "/large")
        connection = writer.get_extra_info("socket")
        assert await deaf.read(1) == b"H"
        async with asyncio.timeout(60):
            while not await _closed_by_peer(port, connection):
                await asyncio.sleep(0.02)
        assert await _length(deaf) < LARGE
        writer.close()


async def test_an_unread_answer_delays_no_end() -> None:
    """The server ends although a caller does not read."""
    async with serving(ConnectionLimits(9)) as port:
        _, writer = await ask(port, "/large")
        await (await ask(port, "/small"))[0].read(1)
    writer.close()


@pytest.mark.parametrize(
    ("client", "counted", "exempt"),
    [
        (("192.0.2.7", 1), "192.0.2.7", False),
        (("10.1.2.3", 1), "10.1.2.3", True),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64", False),
        (None, "?", False),
    ],
)
def test_what_counts_as_one_address(
    client: tuple[str, int] | None, counted: str, exempt: bool
) -> None:
    """An IPv4 address, or the /64 of an IPv6 address; a proxy may have any number."""
    assert _caller(client, (ip_network("10.0.0.0/8"),)) == (counted, exempt)


async def _length(reader: asyncio.StreamReader) -> int:
    """How much comes until the connection is closed."""
    length = 0
    try:
        while some := await reader.read(1_000_000):
            length += len(some)
    except ConnectionResetError:
        pass
    return length


async def _closed_by_peer(port: int, connection: socket.socket) -> bool:
    """Whether the server's end of the connection is gone, as this machine's kernel knows it."""
    mine = connection.getsockname()[1]
    ends = await asyncio.to_thread(psutil.Process().net_connections, "tcp")
    return not any(end.raddr and end.laddr.port == port and end.raddr.port == mine for end in ends)
