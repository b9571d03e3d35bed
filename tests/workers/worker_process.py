"""`python -m workers` and `duragen doctor` as processes of their own, seen from outside."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import httpx

from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import PortRegistry

PATIENCE_SECONDS = 100
"""For what happens within a second or two unless it never does."""

T = TypeVar("T")

DOCTOR = ("-c", "from starter.cli import main; main()", "doctor")


class Ended(NamedTuple):
    """What a process that has ended left behind."""

    code: int
    out: str
    err: str


def environment(stack: LocalStack, **more: str) -> dict[str, str]:
    """What a process needs to use the stack; a health port of 0 is any free one."""
    return environment_of_part({**stack.environment, "DURAGEN_WORKER__HEALTH_PORT": "0", **more})


async def run(*arguments: str, env: Mapping[str, str]) -> Ended:
    """Run Python to its end."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=env, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def until(look: Callable[[], T]) -> T:
    """Look again until there is something to be seen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (seen := look()):
            await asyncio.sleep(0.02)
    return seen


class WorkerProcess:
    """A running worker: its health, its log, its end."""

    def __init__(self, process: Process, port: int, log: Path, http: httpx.AsyncClient) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{port}"
        self._log = log
        self._http = http

    @property
    def identity(self) -> str:
        """How the SDK names this process to the server: `pid@host`."""
        return f"{self.process.pid}@{os.uname().nodename}"

    async def health(self, path: str) -> httpx.Response | None:
        """The endpoint's answer, None while nobody listens."""
        try:
            return await self._http.get(self._url + path)
        except httpx.TransportError:
            return None

    async def answers(self, path: str, status: int = 200) -> dict[str, Any]:
        """Ask until it answers with `status`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (answer := await self.health(path)) is None or answer.status_code != status:
                assert self.process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.02)
        body: dict[str, Any] = answer.json()
        return body

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; every whole line of it must be JSON."""
        whole, _, _ = self._log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    async def says(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read the log until a line is there that is wanted; the first one."""
        [first, *_] = await until(lambda: [line for line in self.lines() if wanted(line)])
        return first

    async def leaves(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return await self.ends()

    async def ends(self) -> int:
        """The exit code, when the process has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def working_process(
    folder: Path, env: Mapping[str, str], *options: str
) -> AsyncIterator[WorkerProcess]:
    """A worker until the block ends, and no longer, however the block ends."""
    registry = PortRegistry(folder / "ports.json")  # kept, so that no other is given the port
    port = registry.pick(f"worker{len(list(folder.iterdir()))}")
    log = folder / f"worker-{port}.log"
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers", *options),
            env={**env, "DURAGEN_WORKER__HEALTH_PORT": str(port)},
            stderr=sink,
            stdout=asyncio.subprocess.DEVNULL,
        )
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        try:
            yield WorkerProcess(process, port, log, http)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


class Launch(Protocol):
    """Starts a worker that ends with the test; variables win over the stack's settings."""

    async def __call__(self, *options: str, **variables: str) -> WorkerProcess:
        """Return at once: the worker may not be ready yet."""
