"""A bound on the images that are in memory at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Admit = Callable[[], Awaitable[None]]
"""Awaited by a service before it reads an image, so that few images are in memory at a time."""


class ImageMemory:
    """Room for `images` images. Peers that have more to send wait in their sockets."""

    def __init__(self, images: int) -> None:
        self._room = asyncio.Semaphore(images)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Admit]:
        """A function that waits for room, once; the room is given back when the block ends."""
        held = False

        async def admit() -> None:
            nonlocal held
            if not held:
                await self._room.acquire()
                held = True

        try:
            yield admit
        finally:
            if held:
                self._room.release()
