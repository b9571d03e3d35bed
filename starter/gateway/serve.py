"""Running the application, and its health on a port of its own, under uvicorn."""

import asyncio
import logging
import signal
import socket
import sys
from contextlib import AsyncExitStack

import uvicorn
from fastapi import FastAPI

from otel.logs import configure_logging
from otel.setup import configure
from peers.connections import ConnectionLimits, spare_descriptors
from peers.http_server import listen, served, server_config
from peers.settings import SettingsError
from peers.temporal import data_converter
from starter.gateway.app import create_app, create_health_app
from starter.gateway.settings import GatewayProcess, GatewaySettings

logger = logging.getLogger(__name__)

GRACEFUL_SECONDS = 10
"""How long accepted requests may take to end after SIGTERM. Each needs milliseconds, those that ask
Odoo some seconds; who waits for an image (`Prefer: wait`) is answered at once."""


HEALTH_CONNECTIONS = 16
"""On the health port: a platform's probes, with some to spare."""


def serve() -> None:
    """Read the settings, then serve. Raises SettingsError, naming each faulty setting."""
    settings = GatewaySettings.read()
    data_converter()  # the client would find a wrong encryption key at the first request only
    configure_logging()
    try:
        configure("duragen-gateway")
    except ValueError as error:  # a wrong OTEL_* variable; the text names it
        raise SettingsError(str(error)) from None
    # uvicorn stops in order and then raises the signal again; without this it would kill us before
    # the last spans are sent.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    process = settings.gateway
    app = create_app(settings)
    config = server_config(app, _limits(process), timeout_graceful_shutdown=GRACEFUL_SECONDS)
    with (
        _listening("", process.host, process.port) as listening,
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
    ):
        runner.run(_serve(process, app, config, listening))


async def _serve(
    process: GatewayProcess, app: FastAPI, config: uvicorn.Config, listening: socket.socket
) -> None:
    async with AsyncExitStack() as stack:
        if process.health_port is not None:
            # Answers until the last request has ended.
            host = process.health_host or process.host
            health = stack.enter_context(_listening("health_", host, process.health_port))
            limits = ConnectionLimits(HEALTH_CONNECTIONS, header_seconds=process.header_seconds)
            await stack.enter_async_context(
                served(server_config(create_health_app(app), limits, backlog=16), health)
            )
        await _Server(config, app).serve(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's, which ends waits before it waits for the last requests."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if developers := getattr(self._app.state, "developers", None):
            developers.waiting.close()
        await super().shutdown(sockets)


def _limits(process: GatewayProcess) -> ConnectionLimits:
    possible = spare_descriptors()
    if possible < process.max_connections:
        logger.warning(
            "the limit of open files leaves room for %d connections: gateway.max_connections is %d",
            possible,
            process.max_connections,
        )
    return ConnectionLimits(
        min(process.max_connections, possible),
        per_address=process.max_connections_per_address,
        proxies=process.proxies,
        header_seconds=process.header_seconds,
        idle_seconds=process.idle_seconds,
    )


def _listening(which: str, host: str, port: int) -> socket.socket:
    try:
        return listen(host, port, backlog=2_048)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}): set gateway.{which}host and"
            f" gateway.{which}port, or DURAGEN_GATEWAY__{which.upper()}PORT"
        ) from None
