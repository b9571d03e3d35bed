"""One operation for many: so many at once, so many a second, in bounded memory."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 20
"""Operations at a time: thousands end soon, and an Odoo that just came back can bear it."""


async def in_bulk(
    items: AsyncIterable[T],
    operation: Callable[[T], Coroutine[Any, Any, R]],
    *,
    rate: float | None = None,
    at_once: int = AT_ONCE,
) -> AsyncGenerator[R, None]:
    """What `operation` returns for each item, as they end; at most `rate` are begun in a second.

    Items are taken as they are needed. An operation returns its failure as a result; one that
    raises ends all. When the caller stops reading (`aclose`), what is under way is not waited for.
    """
    running: set[asyncio.Task[R]] = set()
    begin_at = time.monotonic()
    try:
        async for item in items:
            while (pause := begin_at - time.monotonic()) > 0 or len(running) >= at_once:
                for ended in await _some(running, pause if len(running) < at_once else None):
                    running.discard(ended)
                    yield ended.result()
            # From now, not from the turn before: a delay is not followed by a burst.
            begin_at = time.monotonic() + (1 / rate if rate else 0)
            running.add(asyncio.create_task(operation(item)))
        while running:
            for ended in await _some(running, None):
                running.discard(ended)
                yield ended.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _some(running: set[asyncio.Task[R]], timeout: float | None) -> set[asyncio.Task[R]]:  # noqa: ASYNC109  # of `asyncio.wait`
    """Those that have ended, after at most `timeout` seconds."""
    if not running:
        await asyncio.sleep(timeout or 0)
        return set()
    ended, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return ended


async def these(items: list[T]) -> AsyncIterator[T]:
    """A list as `in_bulk` takes it."""
    for item in items:
        yield item
