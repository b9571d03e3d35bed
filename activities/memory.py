"""A bound on the images that are in memory at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from activities.providers.service import Admit


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
