"""HTTP servers that callers without a key cannot fill: deadlines and caps on connections.

uvicorn with its own parser (httptools), which has neither. Decision 32 says why this is written
here, and what was compared; `peers.connections` counts, and chooses who gives way.
"""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from peers.connections import ConnectionLimits, ConnectionPool

MAX_HEAD_BYTES = 16 * 1024
"""Request line and headers; also trailers and what else may stand between two parts of a body.
The longest of ours has some hundred bytes; httptools itself has no limit, h11 64 KiB."""

MAX_HEADERS = 100
"""Of one request, its trailers too: each takes forty times its bytes in memory. As Apache's."""

RECEIVED_BYTES = 16 * 1024
"""What the kernel keeps of a connection until we read. Without a limit, 256 KB of each may come in
one turn of the loop, before anything is counted."""

MAX_PIPELINED = 16
"""Requests that wait behind the one under way: no client of ours pipelines, and each takes memory
long before it is looked at."""


def listen(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """A socket for `served`. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=backlog)
    # Accepted ones begin with it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
    return listening


def server_config(app: ASGIApp, limits: ConnectionLimits, **more: Any) -> uvicorn.Config:
    """Settings for uvicorn, with `limits` kept; each call has connections of its own."""

    class Protocol(_GuardedProtocol):
        pool = ConnectionPool(limits)

    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",  # an upgraded connection would leave our hands, and nobody wants one
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=math.ceil(limits.idle_seconds),
        **more,
    )


@asynccontextmanager
async def served(config: uvicorn.Config, listening: socket.socket) -> AsyncIterator[None]:
    """Serve until the block ends; signals are left to the process."""
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process, which has more to do before it ends."""
        yield


class _RefusedError(Exception):
    """Raised inside the parser, which ends with it."""


class _GuardedProtocol(HttpToolsProtocol):
    """uvicorn's own, with deadlines, a limit on what is not body, and a pool to be counted in."""

    pool: ConnectionPool
    due = math.inf
    _overhead = 0
    """Bytes since the last headers' end, or part of a body: a head, chunk sizes, trailers."""
    _refusal = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.pool.enter(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.pool.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refusal = 431
            self.send_400_response("The headers are too large.")

    def on_header(self, name: bytes, value: bytes) -> None:
        # At once: thousands of them also take milliseconds of everybody's time.
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = 431
            raise _RefusedError
        # The rest is uvicorn's: a call of it costs a microsecond for each header.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._overhead = 0
        size, hosts = len(self.url), 0
        for name, value in self.headers:
            size += len(name) + len(value)
            hosts += name == b"host"
        if size > MAX_HEAD_BYTES:
            self._refusal = 431
            raise _RefusedError
        version = self.parser.get_http_version()
        # RFC 9112, 3.2: two servers would understand two hosts differently.
        if version not in ("1.0", "1.1") or hosts > 1 or (version == "1.1" and not hosts):
            raise _RefusedError
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _RefusedError
        super().on_headers_complete()
        self.pool.works(self)

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.flow.write_paused:
            limits = self.pool.limits
            # A request that was answered before its end has nothing more to say, and a connection
            # that is to be closed may still wait for its answer to be read.
            ending = self.cycle.more_body or self.transport.is_closing()
            self.pool.waits(self, limits.header_seconds if ending else limits.idle_seconds)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.pool.waits(self, self.pool.limits.unread_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle.response_complete:
            self.pool.waits(self, self.pool.limits.idle_seconds)
        else:
            self.pool.works(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or too large, and close the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            if not self.cycle.more_body or self.pipeline or self.cycle.response_started:
                # It would be taken for the answer to another request, or for a part of one.
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(
            STATUS_LINE[self._refusal]
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
            + f"content-length: {len(msg)}\r\n\r\n{msg}".encode("ascii")
        )
        self.transport.close()
