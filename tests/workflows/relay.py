"""A wire between two real parts that a test can cut."""

import asyncio
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit


class Wire(StrEnum):
    """What a relay does with a connection.

    WHOLE   passes everything on
    CUT     ends it, and every new one, at once
    DEAF    passes on what is asked, and ends it when the first answer comes: the work is done, and
            whoever asked never learns of it
    READS   passes on what only reads; a PUT is refused as a store does without the right to write
    SILENT  takes what comes on a new one, passes nothing on and never answers
    FROZEN  does so with those that are open, too, and neither end notices
    """

    WHOLE = "whole"
    CUT = "cut"
    DEAF = "deaf"
    SILENT = "silent"
    FROZEN = "frozen"
    READS = "reads"


_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_FORBIDDEN = (
    b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(_DENIED)
    + _DENIED
)


class Relay:
    """Plain TCP to `target` (host:port or an origin), through a free port of loopback."""

    def __init__(self, target: str) -> None:
        self.aim(target)
        self.unanswered = 0
        """POSTs that were not passed on: the wire was silent, or nobody listened at the target."""
        self.refused = 0
        """PUTs that were refused."""
        self._wire = Wire.WHOLE
        self._open: set[asyncio.StreamWriter] = set()
        self.address = ""

    def aim(self, target: str) -> None:
        """Where new connections lead from now on."""
        where = urlsplit(target if "//" in target else f"//{target}")
        self._target = where.hostname, where.port

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://{self.address}"

    @property
    def wire(self) -> Wire:
        """As it is now; what is set also meets connections that are open."""
        return self._wire

    @wire.setter
    def wire(self, wire: Wire) -> None:
        self._wire = wire
        if wire is Wire.CUT:
            for writer in self._open:
                writer.transport.abort()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut, and stop listening."""
        self._server.close()
        self.wire = Wire.CUT

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._wire is Wire.CUT:
            writer.transport.abort()
            return
        if self._wire in {Wire.SILENT, Wire.FROZEN}:
            await self._swallow(reader, writer)
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        except OSError:
            self._count(await reader.read(65_536))
            writer.transport.abort()
            return
        both = {writer, upstream_writer}
        self._open |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(reader, upstream_writer, writer))
                group.create_task(self._answer(upstream_reader, writer))
        except* OSError:
            pass  # cut, or one of the two has left
        finally:
            self._open -= both
            for end in both:
                end.close()

    async def _swallow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while data := await reader.read(65_536):
                self._count(data)
        except OSError:
            pass  # cut
        finally:
            self._open.discard(writer)
            writer.close()

    def _count(self, data: bytes) -> None:
        self.unanswered += data.startswith(b"POST ")

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        while data := await reader.read(65_536):
            if self._wire is Wire.FROZEN:
                continue
            if self._wire is Wire.READS and data.startswith(b"PUT "):
                self.refused += 1
                back.write(_FORBIDDEN)
                await back.drain()
                break
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self._wire is Wire.DEAF:
                writer.transport.abort()
                break
            if self._wire is Wire.FROZEN:
                continue
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
