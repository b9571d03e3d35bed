"""The worker process: connect, serve the queues, and leave without losing anything."""

import asyncio
import gc
import logging
import signal
from contextlib import AsyncExitStack, suppress

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDConflictPolicy
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.runtime import Runtime
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.spool import Held, Spool, SpoolError
from activities.spool_uploads import SpoolUploads
from contracts.alerts import BacklogWatchState
from contracts.names import (
    BACKLOG_WATCH_ID,
    BACKLOG_WATCH_WORKFLOW,
    FIRST_PRIORITY,
    GENERATION_QUEUE,
)
from otel.setup import configure
from peers import temporal
from peers.settings import SettingsError
from workers.clients import health_kept, open_clients, spool_uploaded
from workers.health_server import health_server
from workers.runtime import logging_runtime
from workers.settings import Settings
from workers.wiring import build_workers

logger = logging.getLogger(__name__)

SERVICE_NAME = "duragen-worker"
CONNECT_SECONDS = 10.0
"""For one try: something may accept the connection and never speak, such as a load balancer."""

WATCH_SECONDS = 60.0
"""How often a worker makes sure that the backlog watch runs."""

RECONNECT_SECONDS = 2.0
"""Between two tries to reach Temporal at the start; once connected, the SDK does it by itself."""


async def run_worker(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs, or hand it back to the server.

    Raises SettingsError when the health port is taken, and for wrong `OTEL_*` and `TEMPORAL_*`.
    """
    try:
        traced = configure(SERVICE_NAME, create_tracer_provider)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    workers: list[Worker] = []
    spool: Spool | None = None

    async def held() -> Held | None:
        return await spool.held() if spool else None

    process = settings.worker
    async with AsyncExitStack() as stack:
        health = health_server(
            process.health_host,
            process.health_port,
            settings.queues,
            ready=lambda: bool(workers) and all(worker.is_running for worker in workers),
            held=held,
        )
        try:
            port = await stack.enter_async_context(health)
        except OSError as error:
            raise SettingsError(
                f"cannot serve health on {process.health_host}:{process.health_port} ({error}):"
                " set DURAGEN_WORKER__HEALTH_PORT"
            ) from None
        client = await _connect(stop, traced=traced)
        if client is None:
            return
        try:
            clients = await stack.enter_async_context(open_clients(settings, traced=traced))
        except SpoolError as error:
            raise SettingsError(str(error)) from None
        spool = clients.spool
        uploads = await stack.enter_async_context(spool_uploaded(client, clients))
        await stack.enter_async_context(health_kept(client, clients))
        workers += build_workers(client, settings, clients)
        for worker in workers:
            await stack.enter_async_context(worker)
        if settings.alerts and GENERATION_QUEUE in settings.queues:
            watching = asyncio.create_task(_keep_watch(client))
            stack.callback(watching.cancel)
        # What was loaded until here stays: the collector need not look at it again, and so comes
        # more often to what finished workflows leave behind, full of cycles.
        gc.collect()
        gc.freeze()
        logger.info("worker serves %s", ", ".join(settings.queues), extra={"health_port": port})
        await stop.wait()
        logger.info(
            "worker is leaving: it takes no more work, and calls under way have up to %g s",
            settings.grace_seconds,
        )
        gone_at = loop.time() + settings.grace_seconds
        # All at once: each waits for its own activities, and one after the other would add up.
        await asyncio.gather(*(worker.shutdown() for worker in workers))
        await _empty(spool, uploads, gone_at - loop.time())
    logger.info("worker has left")


async def _empty(spool: Spool, uploads: SpoolUploads, seconds: float) -> None:
    """Give the images in the spool so long: its disk may go with this process."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0)):
            await uploads.emptied()
    if images := (await spool.held()).images:
        logger.warning(
            "images that are paid for stay in %s: %d; keep it, and start a worker there",
            spool.where,
            images,
        )


async def _keep_watch(client: Client) -> None:
    """Start the backlog watch, and again if it was ended. Its id makes it one for all workers."""
    while True:
        try:
            await client.start_workflow(
                BACKLOG_WATCH_WORKFLOW,
                BacklogWatchState(),
                id=BACKLOG_WATCH_ID,
                task_queue=GENERATION_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary="counts what waits for a person, and raises alerts",
                priority=Priority(priority_key=FIRST_PRIORITY),
            )
        except RPCError as error:
            logger.warning("no alerts: the backlog watch cannot be started: %s", error.message)
        await asyncio.sleep(WATCH_SECONDS)


async def _connect(stop: asyncio.Event, *, traced: bool) -> Client | None:
    """The client, or None when the process is to end before there is one."""
    connecting = asyncio.create_task(_connect_in_the_end(traced=traced))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if connecting.done():
        return connecting.result()
    connecting.cancel()
    return None


async def _connected(runtime: Runtime, *, traced: bool) -> Client:
    """Raises RPCError also when the namespace is not there (yet)."""
    plugins = [OpenTelemetryPlugin(add_temporal_spans=True)] if traced else []
    client = await temporal.connect(plugins=plugins, runtime=runtime)
    # A worker would find out by itself, and die of it.
    await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    return client


async def _connect_in_the_end(*, traced: bool) -> Client:
    runtime = logging_runtime()
    while True:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await _connected(runtime, traced=traced)
        except (RuntimeError, RPCError, TimeoutError) as error:
            reason = str(error) or "no answer"
            logger.warning(
                "Temporal at %s cannot serve us yet, trying again: %s", temporal.target(), reason
            )
        await asyncio.sleep(RECONNECT_SECONDS)
