"""Running the application under uvicorn."""

import signal
import sys

import uvicorn

from otel.logs import configure_logging
from otel.setup import configure
from starter.gateway.app import create_app
from starter.gateway.settings import GatewaySettings

GRACEFUL_SECONDS = 10
"""How long requests that were taken may end after SIGTERM; each needs milliseconds."""


def serve() -> None:
    """Read the settings, then serve. Raises GatewaySettingsError, naming each faulty setting."""
    settings = GatewaySettings.read()
    configure_logging()
    configure("duragen-gateway")
    # uvicorn stops in order and then raises the signal again; without this it would kill us before
    # the last spans are sent.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        create_app(settings),
        host=settings.gateway.host,
        port=settings.gateway.port,
        log_config=None,  # the root logger's JSON
        access_log=False,  # each accepted request is logged once, with its ids
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
