"""Clients keep nothing of one answer for the next call."""

from collections.abc import Callable

import httpcore
import httpx
import pytest

from peers.clients import READ_BYTES, named_client, public_client
from peers.http import call
from tests.activities.http_peer import Peer, answer


@pytest.mark.parametrize("domain", ["", "; Domain=127.0.0.1", "; Path=/; HttpOnly"])
async def test_no_cookie_is_kept(peer: Peer, domain: str) -> None:
    """A cookie of one generation's answer does not go along with the next one's call."""
    peer.says(answer(200, "ok", {"set-cookie": f"session=alice{domain}"}))
    async with named_client() as client:
        for _ in range(2):
            await call(client, "GET", peer.url, timeout_seconds=30, max_bytes=100)
        assert not client.cookies.jar
    assert len(peer.received) == 2
    assert all("cookie" not in received.headers for received in peer.received)


@pytest.mark.parametrize("build", [named_client, public_client])
async def test_one_kind_of_client(build: Callable[[], httpx.AsyncClient]) -> None:
    """Neither cookies nor the environment's proxies nor redirects, whichever it is."""
    async with build() as client:
        assert (client.trust_env, client.follow_redirects) == (False, False)
        request = httpx.Request("GET", "https://service.example/")
        sent = httpx.Response(200, headers={"set-cookie": "session=alice"}, request=request)
        client.cookies.extract_cookies(sent)
        assert not client.cookies.jar


async def test_large_reads() -> None:
    """An image comes in few pieces: httpcore asks its sockets for as much as we say."""
    asked: list[int] = []

    class Socket(httpcore.AsyncMockStream):
        async def read(
            self,
            max_bytes: int,
            timeout: float | None = None,  # noqa: ASYNC109  # httpcore's own
        ) -> bytes:
            asked.append(max_bytes)
            return await super().read(max_bytes, timeout)

    socket = Socket([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"body"])
    origin = httpcore.Origin(b"http", b"peer.example", 80)
    async with httpcore.AsyncHTTP11Connection(origin, socket) as connection:
        await connection.request("GET", "http://peer.example/")
    assert asked == [READ_BYTES] * 2
