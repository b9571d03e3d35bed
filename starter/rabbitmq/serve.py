"""Running the consumer, with its health over HTTP."""

import asyncio
import logging
import signal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from otel.logs import configure_logging
from otel.setup import configure
from peers.connections import ConnectionLimits
from peers.http_server import listen, served, server_config
from peers.settings import SettingsError
from peers.temporal import data_converter
from starter.client import AsyncDuragenClient
from starter.rabbitmq.consumer import Consumer
from starter.rabbitmq.settings import RabbitSettings
from starter.start import EntryPoint

logger = logging.getLogger(__name__)

START_SECONDS = 10.0
"""For one start in Temporal; the consumer tries again by itself."""

CONNECTIONS = 16
"""A platform's probes, with some to spare."""


def serve() -> None:
    """Consume until SIGTERM or SIGINT. Raises SettingsError, naming each faulty setting."""
    settings = RabbitSettings.read()
    data_converter()  # the client would find a wrong encryption key at the first request only
    configure_logging()
    try:
        configure("duragen-rabbitmq")
    except ValueError as error:  # a wrong OTEL_* variable; the text names it
        raise SettingsError(str(error)) from None
    asyncio.run(_serve(settings))


async def _serve(settings: RabbitSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = AsyncDuragenClient(timeout=START_SECONDS, retry_seconds=())
    consumer = Consumer(settings.rabbitmq, client, EntryPoint(client, settings.callbacks))
    table = settings.rabbitmq
    try:
        listening = listen(table.health_host, table.health_port)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {table.health_host}:{table.health_port} ({error.strerror}): set"
            " rabbitmq.health_host and rabbitmq.health_port, or DURAGEN_RABBITMQ__HEALTH_PORT"
        ) from None
    config = server_config(
        _health(consumer),
        ConnectionLimits(CONNECTIONS),
        lifespan="off",
        backlog=16,
        timeout_graceful_shutdown=1,
    )
    async with served(config, listening):
        await consumer.run(stop)
    logger.info("the consumer has left")


def _health(consumer: Consumer) -> Starlette:
    """`/health` says that the process lives, `/health/ready` that requests are consumed."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> JSONResponse:
        trouble = consumer.trouble
        if trouble:
            return JSONResponse({"status": "not ready", "detail": trouble}, 503)
        return JSONResponse({"status": "ready"})

    return Starlette(routes=[Route("/health", health), Route("/health/ready", ready)])
