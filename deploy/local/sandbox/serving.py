"""How the sandboxes listen: uvicorn on loopback, with the connection itself within reach.

A server that breaks on demand must be able to break the connection: ASGI has no word for that, so
the protocol below hands each request its transport.
"""

import asyncio
import logging
import socket
import struct
from typing import cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HOST = "127.0.0.1"
_TRANSPORT = "duragen.transport"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST and not FIN


class _WithTransport(HttpToolsProtocol):
    """uvicorn's own protocol, which also leaves the transport in the scope."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_TRANSPORT: {"transport": self.transport}}


def transport_of(request: Request) -> asyncio.Transport:
    """The TCP connection that `request` came by."""
    return cast("asyncio.Transport", request.scope["extensions"][_TRANSPORT]["transport"])


def close(request: Request) -> None:
    """Ends the connection in good order (FIN), whatever was or was not sent."""
    transport_of(request).close()


def reset(request: Request) -> None:
    """Breaks the connection (RST), as a crashed server or a cut cable does."""
    transport = transport_of(request)
    # A duplicate of the descriptor would hold the connection open, so the option is set on the
    # socket that the transport shows, and abort() closes it.
    connection = cast("socket.socket", transport.get_extra_info("socket"))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


async def no_answer(_scope: Scope, receive: Receive, _send: Send) -> None:
    """An ASGI response that says nothing and ends when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def serve(app: Starlette, port: int) -> None:
    """Serves on loopback until SIGTERM or Ctrl-C; requests in flight get 2 s to finish."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvicorn.run(
        app,
        host=HOST,
        port=port,
        http=_WithTransport,
        loop="uvloop",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=2,
        backlog=2_048,
    )
