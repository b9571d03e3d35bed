"""nginx with our file, in front of two peers that write down what arrives."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from deploy.local.nginx import Nginx
from deploy.local.sandbox.serving import HOST
from tests.activities.http_peer import Peer, answer, listening

POST = b"POST /v1/generate HTTP/1.1\r\n"
HOSTED = POST + b"Host: x\r\nConnection: close\r\n"
"""How a request begins, written by hand."""

PATIENCE_SECONDS = 100
"""For what happens within seconds unless it never does."""

NO_LIMITS = {"rate=20r/s": "rate=100000r/s", "rate=50r/s": "rate=100000r/s"}


class Said(NamedTuple):
    """An answer off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Front(NamedTuple):
    """nginx, who stands behind it, and a client."""

    nginx: Nginx
    gateway: Peer
    odoo: Peer
    http: httpx.AsyncClient

    @property
    def arrived(self) -> list[str]:
        """Method and path of all that went through."""
        both = (*self.gateway.received, *self.odoo.received)
        return [f"{each.method} {each.path}" for each in both]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection with TLS, to send on what no client library would."""
        trust = ssl.create_default_context(cafile=self.nginx.certificate)
        return await asyncio.open_connection(HOST, self.nginx.port, ssl=trust)

    async def says(self, request: bytes) -> Said:
        """What is answered to these bytes; the connection ends with it."""
        reader, writer = await self.connect()
        writer.write(request)
        head, _, body = (await ended(reader)).partition(b"\r\n\r\n")
        writer.close()
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        return Said(int(first.split()[1]), {k.lower(): v for k, _, v in pairs}, body)


@asynccontextmanager
async def fronting(
    home: Path, changes: Mapping[str, str] | None = None, **behind: str
) -> AsyncIterator[Front]:
    """As the file has it but for `changes`; `gateway` or `odoo` names another one behind it."""
    async with AsyncExitStack() as stack:
        gateway, odoo = [await stack.enter_async_context(listening()) for _ in range(2)]
        for peer in (gateway, odoo):
            peer.says(answer(200, {"here": "I am"}))
        there = {"gateway": f"{HOST}:{gateway.port}", "odoo": f"{HOST}:{odoo.port}"}
        nginx = Nginx(home / "nginx", changes=changes, **{**there, **behind})
        await asyncio.to_thread(nginx.start)
        stack.push_async_callback(asyncio.to_thread, nginx.stop)
        http = await stack.enter_async_context(client_of(nginx))
        yield Front(nginx, gateway, odoo, http)


def client_of(nginx: Nginx, address: str = HOST, **more: Any) -> httpx.AsyncClient:
    """A client that trusts its certificate alone, and calls from this address of loopback."""
    trust = ssl.create_default_context(cafile=nginx.certificate)
    way = httpx.AsyncHTTPTransport(verify=trust, local_address=address)
    return httpx.AsyncClient(base_url=nginx.url, transport=way, timeout=PATIENCE_SECONDS, **more)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side ends the connection, in whatever way."""
    found = bytearray()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while more := await reader.read(65_536):
                found += more
    except ConnectionError:
        pass
    return bytes(found)


def assert_problem(said: httpx.Response | Said, status: int, name: str) -> None:
    """It is a problem document of nginx', with `Retry-After` where trying again makes sense."""
    if isinstance(said, httpx.Response):
        said = Said(said.status_code, dict(said.headers), said.content)
    assert said.status == status, said
    assert said.headers["content-type"] == "application/problem+json"
    assert said.headers["cache-control"] == "no-store"
    assert said.headers.get("retry-after") == ("1" if status in {429, 503} else None)
    found = httpx.Response(status, content=said.body).json()
    assert (found["type"], found["status"]) == (f"urn:duragen:problem:{name}", status)
    assert found["title"]
    assert found["detail"]
    assert found["errors"] == []
