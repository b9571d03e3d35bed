"""The worker's health over HTTP: `/health` says alive, `/health/ready` that it polls its queues."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


@asynccontextmanager
async def health_server(
    host: str, port: int, queues: tuple[str, ...], ready: Callable[[], bool]
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. Raises OSError when the port is taken."""

    def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "alive", "queues": queues})

    def readiness(_: Request) -> JSONResponse:
        if ready():
            return JSONResponse({"status": "ready", "queues": queues})
        return JSONResponse({"status": "not ready", "queues": queues}, status_code=503)

    app = Starlette(routes=[Route("/health", health), Route("/health/ready", readiness)])
    listening = socket.create_server((host, port))
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the worker, which has more to do before it ends."""
        yield
