"""A receiver of webhooks: answers what a test says, and hands over what it was sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Self

PATIENCE_SECONDS = 200


class Heard(NamedTuple):
    """One request."""

    headers: dict[str, str]
    body: str


class Receiver:
    """On loopback. `answers` are the next statuses, then 200; while `silent` it answers nothing."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.answers: list[int] = []
        self.silent = False
        self.most_at_once = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()

    @classmethod
    @asynccontextmanager
    async def listening(cls, port: int) -> AsyncIterator[Self]:
        """Until the block ends."""
        receiver = cls(port)
        async with await asyncio.start_server(receiver._take, "127.0.0.1", port):
            yield receiver
            for writer in receiver._open:  # or who calls would wait for an answer for long
                writer.close()

    async def next(self) -> Heard:
        """The next request that comes, or has come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._heard.get()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in fields}
        body = (await reader.readexactly(int(headers["content-length"]))).decode()
        self._heard.put_nowait(Heard(headers, body))
        self._open.add(writer)
        self.most_at_once = max(self.most_at_once, len(self._open))
        if self.silent:
            await reader.read()
        else:
            status = self.answers.pop(0) if self.answers else 200
            writer.write(
                f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
            )
        self._open.discard(writer)
        writer.close()
