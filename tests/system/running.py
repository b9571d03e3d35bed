"""A program of others: runs until the test has used it."""

import asyncio
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

PATIENCE_SECONDS = 100
"""For what happens within seconds unless it never does."""


@asynccontextmanager
async def running(
    http: httpx.AsyncClient,
    log: Path,
    ready_url: str,
    *command: str,
    env: Mapping[str, str] | None = None,
    any_answer: bool = False,
) -> AsyncIterator[None]:
    """From when `ready_url` answers 200, or at all with `any_answer`, to the end of the block."""
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=sink, stderr=STDOUT, env=env
        )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await _answers(http, ready_url, any_answer=any_answer):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(http: httpx.AsyncClient, url: str, *, any_answer: bool) -> bool:
    try:
        answer = await http.get(url)
    except httpx.TransportError:
        return False
    return any_answer or answer.status_code == 200
