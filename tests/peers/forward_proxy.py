"""A real forward proxy on loopback: it tunnels what is CONNECTed, and forwards the rest."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024
OWN_HEADER = "proxy-authorization"
"""For the proxy alone."""


class ForwardProxy:
    """`asked` are the first lines of the requests, `authorizations` what came beside each.

    `names` are where hosts are that it alone resolves; one at None it refuses.
    """

    def __init__(self, names: Mapping[str, tuple[str, int] | None]) -> None:
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.port = 0
        self._names = names

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request or one tunnel."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, _, rest = head.partition("\r\n")
            self.asked.append(line)
            fields = [each.split(": ", 1) for each in rest.split("\r\n") if each]
            ours = [value for name, value in fields if name.lower() == OWN_HEADER]
            self.authorizations += ours or [None]
            passed = [f"{name}: {value}\r\n" for name, value in fields if value not in ours]
            await self._passed(line, "".join(passed) + "\r\n", reader, writer)
        except OSError:
            pass  # one of both has left
        finally:
            writer.close()

    async def _passed(
        self, line: str, rest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, version = line.split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = str(url.hostname), url.port or 80
        place = self._names.get(host, (host, port))
        if place is None:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        there_reader, there = await asyncio.open_connection(*place)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            there.write(f"{method} {url.path or '/'} {version}\r\n{rest}".encode("latin-1"))
        try:
            await asyncio.gather(_piped(reader, there), _piped(there_reader, writer))
        finally:
            there.close()


async def _piped(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()
    sink.close()


@asynccontextmanager
async def forward_proxy(
    names: Mapping[str, tuple[str, int] | None] = MappingProxyType({}),
) -> AsyncIterator[ForwardProxy]:
    """A proxy on a free port."""
    proxy = ForwardProxy(names)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
