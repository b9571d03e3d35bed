"""An image service and a store between whose lines a test can hold a generation.

Each row of a table is one generation, known by its prompt. A row has so many tries that the
service answers with 503; the try after them stops at a `Place` until the test lets it go.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

import httpx

from tests.activities.http_peer import Peer, Received, Reply, answer, listening, reset

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "expect", "keep-alive"}


class Place(StrEnum):
    """Where a try is held.

    BEFORE    it looks into the store, and has sent nothing
    SENT      the service has the call, and makes the image
    ANSWERED  the image has arrived, and is not in the store
    STORED    the image is in the store, and the worker does not know it yet
    """

    BEFORE = "before sending"
    SENT = "sent"
    ANSWERED = "answered"
    STORED = "stored"


@dataclass
class Row:
    """One generation. `tries` and `paid` are counted where they happen."""

    place: Place
    at_try: int
    first_lost: bool = False
    """The first try is paid for, and its reply lost."""
    request_id: UUID | None = None
    tries: int = 0
    paid: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def prompt(self) -> str:
        """What the service knows it by."""
        return f"row {self.place} {self.at_try}{' after a loss' if self.first_lost else ''}"

    async def hold(self, place: Place) -> None:
        """Stop here if this is the place, and the first time."""
        if place is self.place and self.tries == self.at_try and not self.held.is_set():
            self.held.set()
            await self.let_go.wait()


class Scripted:
    """The peers of all rows; `service` and `store` are their origins."""

    def __init__(self, rows: list[Row], picture: bytes, store_url: str, peers: list[Peer]) -> None:
        self.rows = rows
        self._picture = base64.b64encode(picture).decode()
        self._store_url = store_url
        self._http = httpx.AsyncClient(trust_env=False, timeout=60)
        self.service, self.store = (peer.url for peer in peers)
        for peer, reply in zip(peers, (self._make, self._keep), strict=True):
            peer.says(reply)

    @classmethod
    @asynccontextmanager
    async def listening(
        cls, rows: list[Row], picture: bytes, store_url: str
    ) -> AsyncIterator["Scripted"]:
        """Both peers on free ports, until the block ends."""
        async with listening() as service, listening() as store:
            scripted = cls(rows, picture, store_url, [service, store])
            try:
                yield scripted
            finally:
                scripted.let_all_go()
                await scripted._http.aclose()

    async def all_held(self) -> None:
        """Wait until each row is at its place."""
        async with asyncio.timeout(100):
            for row in self.rows:
                await row.held.wait()

    def let_all_go(self) -> None:
        """From here on nothing is held."""
        for row in self.rows:
            row.held.set()
            row.let_go.set()

    async def _make(
        self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if received.method != "POST":  # a probe of the provider's health
            return await answer(404)(received, reader, writer)
        [row] = [each for each in self.rows if each.prompt == received.json["prompt"]]
        if row.first_lost and row.tries == 1:
            row.paid += 1
            return await reset(received, reader, writer)
        if row.tries < row.at_try:
            return await answer(503)(received, reader, writer)
        row.paid += 1
        await row.hold(Place.SENT)
        image = answer(200, {"data": [{"b64_json": self._picture}]})
        return await image(received, reader, writer)

    async def _keep(
        self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        row = next((r for r in self.rows if str(r.request_id) in received.path), None)
        if row and received.method == "HEAD":
            row.tries += 1
            await row.hold(Place.BEFORE)
        if row and received.method == "PUT":
            await row.hold(Place.ANSWERED)
            if reader.at_eof():
                return  # who wanted to write it is dead
        reply = await self._forwarded(received)
        if row and received.method == "PUT":
            await row.hold(Place.STORED)
        await reply(received, reader, writer)

    async def _forwarded(self, received: Received) -> Reply:
        headers = {k: v for k, v in received.headers.items() if k not in _HOP_BY_HOP}
        said = await self._http.request(
            received.method, self._store_url + received.path, headers=headers, content=received.body
        )
        kept = {k: v for k, v in said.headers.items() if k not in _HOP_BY_HOP}
        if received.method == "HEAD":
            kept["content-length"] = said.headers.get("content-length", "0")
        return answer(said.status_code, said.content, kept)
