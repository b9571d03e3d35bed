"""The worker's health over HTTP: `/health` says alive, `/health/ready` that it polls its queues.

Both count what is in the spool, `{"spool": {"images": N, "bytes": N, "lost": N}}`; null when it is
not open yet, or its disk does not answer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from activities.spool import Held
from peers.connections import ConnectionLimits
from peers.http_server import listen, served, server_config

DISK_SECONDS = 0.5
"""For counting files: whoever asks whether the process is alive must not wait for a disk."""

CONNECTIONS = 16
"""A platform's probes, with some to spare; who only holds connections open gives way to them."""


@asynccontextmanager
async def health_server(
    host: str,
    port: int,
    queues: tuple[str, ...],
    *,
    ready: Callable[[], bool],
    held: Callable[[], Awaitable[Held | None]],
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. Raises OSError when the port is taken."""

    async def answer(status: str, code: int = 200) -> JSONResponse:
        counted = None
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(DISK_SECONDS):
                counted = await held()
        spool = counted and counted._asdict()
        return JSONResponse({"status": status, "queues": queues, "spool": spool}, code)

    async def health(_: Request) -> JSONResponse:
        return await answer("alive")

    async def readiness(_: Request) -> JSONResponse:
        return await (answer("ready") if ready() else answer("not ready", 503))

    app = Starlette(routes=[Route("/health", health), Route("/health/ready", readiness)])
    listening = listen(host, port)
    # A caller that does not read its answer must not keep the worker from leaving.
    config = server_config(
        app, ConnectionLimits(CONNECTIONS), lifespan="off", backlog=16, timeout_graceful_shutdown=1
    )
    async with served(config, listening):
        yield int(listening.getsockname()[1])
