"""The worker process: connect, serve the queues, and leave without losing anything."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack

from temporalio.client import Client
from temporalio.worker import Worker

from workers.connection import connect_traced, target
from workers.health import health_server
from workers.settings import Settings
from workers.wiring import build_workers, open_clients

logger = logging.getLogger(__name__)

SERVICE_NAME = "duragen-worker"
RECONNECT_SECONDS = 2.0
"""Between two tries to reach Temporal at the start; once connected, the SDK does it by itself."""


async def run_worker(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs, or hand it back to the server.

    Raises OSError when the health port is taken, ValueError for a wrong `OTEL_*` variable.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    workers: list[Worker] = []
    process = settings.worker
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            health_server(
                process.health_host,
                process.health_port,
                settings.queues,
                lambda: bool(workers) and all(worker.is_running for worker in workers),
            )
        )
        connected = await _connect(stop)
        if connected is None:
            return
        client, traced = connected
        clients = await stack.enter_async_context(open_clients(settings, traced=traced))
        workers += build_workers(client, settings, clients)
        for worker in workers:
            await stack.enter_async_context(worker)
        logger.info("worker serves %s", ", ".join(settings.queues), extra={"health_port": port})
        await stop.wait()
        logger.info("worker is leaving; running activities have %s s", process.graceful_seconds)
        # All at once: each waits for its own activities, and one after the other would add up.
        await asyncio.gather(*(worker.shutdown() for worker in workers))
    logger.info("worker has left")


async def _connect(stop: asyncio.Event) -> tuple[Client, bool] | None:
    while not stop.is_set():
        try:
            return await connect_traced(SERVICE_NAME)
        except RuntimeError as error:
            logger.warning("Temporal at %s cannot be reached, trying again: %s", target(), error)
            try:
                async with asyncio.timeout(RECONNECT_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
    return None
