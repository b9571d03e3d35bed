"""Running the application under uvicorn."""

import signal
import socket
import sys

import uvicorn

from otel.logs import configure_logging
from otel.setup import configure
from peers.settings import SettingsError
from peers.temporal import data_converter
from starter.gateway.app import create_app
from starter.gateway.settings import GatewaySettings

GRACEFUL_SECONDS = 10
"""How long accepted requests may take to end after SIGTERM; each needs milliseconds."""


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
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,  # the root logger's JSON
        access_log=False,  # each accepted request is logged once, with its ids
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    with _listening(settings.gateway.host, settings.gateway.port) as listening:
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}): set gateway.host and gateway.port,"
            " or DURAGEN_GATEWAY__PORT"
        ) from None
