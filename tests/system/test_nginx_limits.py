"""`deploy/nginx/duragen.conf` in a real nginx: what is counted, and who is not waited for."""

import asyncio
from pathlib import Path

from deploy.local.sandbox.serving import HOST
from tests.activities.http_peer import answer, hang, listening, raw
from tests.ports import free_port
from tests.system.front import (
    HOSTED,
    NO_LIMITS,
    PATIENCE_SECONDS,
    POST,
    assert_problem,
    client_of,
    ended,
    fronting,
)

KEY, OTHER_KEY = "a" * 40, "b" * 40


def bearer(key: str) -> dict[str, str]:
    """The header of a caller."""
    return {"Authorization": f"Bearer {key}"}


# What is counted --------------------------------------------------------------------------------


async def test_the_rate_of_a_key(tmp_path: Path) -> None:
    """Rate and burst, then 429; in any spelling; another key of the same address is served."""
    slow = {**NO_LIMITS, "rate=20r/s": "rate=1r/m", "burst=40": "burst=2"}
    async with fronting(tmp_path, slow) as front:

        async def asks(authorization: str) -> int:
            headers = {"Authorization": authorization} if authorization else {}
            said = await front.http.get("/v1/generate", headers=headers)
            if said.status_code != 200:
                assert_problem(said, 429, "rate_limited")
            return said.status_code

        assert [await asks(f"Bearer {KEY}") for _ in range(4)] == [200, 200, 200, 429]
        for spelled in (f"bearer {KEY}", f"BEARER   {KEY}", f"Bearer {KEY} x"):
            assert await asks(spelled) == 429
        assert [await asks(f"Bearer {OTHER_KEY}") for _ in range(4)] == [200, 200, 200, 429]
        # Without a key there is no caller to be counted; the address is.
        assert [await asks("") for _ in range(5)] == [200] * 5
        # The path makes no difference.
        webhooks = await front.http.get("/v1/webhooks", headers=bearer(KEY))
        assert_problem(webhooks, 429, "rate_limited")


async def test_the_rate_of_an_address(tmp_path: Path) -> None:
    """Whatever keys it has, at the gateway and at Odoo together; another address is served."""
    slow = {**NO_LIMITS, "rate=50r/s": "rate=1r/m", "burst=100": "burst=2"}
    async with fronting(tmp_path, slow) as front, client_of(front.nginx, "127.0.0.2") as other:
        said = [
            await front.http.get(path, headers=bearer(key * 40))
            for path, key in (
                *(("/v1/generate", "a"), ("/v1/webhooks", "b"), ("/api/v1/generations", "c")),
                *(("/v1/generate", "d"), ("/v1/webhooks", "e"), ("/api/v1/generations", "f")),
            )
        ]
        assert [each.status_code for each in said[:3]] == [200] * 3
        for each in said[3:]:
            assert_problem(each, 429, "rate_limited")
        assert len(front.arrived) == 3
        assert (await other.get("/v1/generate", headers=bearer(KEY))).status_code == 200


async def test_the_connections_of_an_address(tmp_path: Path) -> None:
    """One more than it may have is refused; another address is served meanwhile."""
    one = {**NO_LIMITS, "limit_conn duragen_connections 100": "limit_conn duragen_connections 1"}
    async with (
        fronting(tmp_path, one) as front,
        client_of(front.nginx, "127.0.0.2") as other,
        asyncio.TaskGroup() as group,
    ):
        front.gateway.says(hang, answer(200))
        waiting = group.create_task(front.http.get("/v1/generate"))
        await asyncio.wait_for(front.gateway.arrived.wait(), PATIENCE_SECONDS)
        assert_problem(await front.http.get("/v1/generate"), 429, "rate_limited")
        assert (await other.get("/v1/generate")).status_code == 200
        waiting.cancel()


# Who stands behind it is away -------------------------------------------------------------------


async def test_the_gateway_is_down(tmp_path: Path) -> None:
    """503, try again; and as soon as it is back it is asked, without a pause."""
    port = free_port()
    async with fronting(tmp_path, NO_LIMITS, gateway=f"{HOST}:{port}") as front:
        for _ in range(3):
            said = await front.http.post("/v1/generate", json={})
            assert_problem(said, 503, "unavailable")
        assert "Idempotency-Key" in said.json()["detail"]
        async with listening(port) as back:
            back.says(answer(202))
            assert (await front.http.post("/v1/generate", json={})).status_code == 202


async def test_odoo_is_down(tmp_path: Path) -> None:
    """The same for the web app."""
    async with fronting(tmp_path, NO_LIMITS, odoo=f"{HOST}:{free_port()}") as front:
        said = await front.http.post("/api/v1/generations", json={})
        assert_problem(said, 503, "unavailable")


async def test_the_gateway_is_silent(tmp_path: Path) -> None:
    """503 when its time is over; the request was sent once."""
    soon = {**NO_LIMITS, "proxy_read_timeout 75s": "proxy_read_timeout 1s"}
    async with fronting(tmp_path, soon) as front:
        front.gateway.says(hang)
        assert_problem(await front.http.post("/v1/generate", json={}), 503, "unavailable")
        assert front.arrived == ["POST /v1/generate"]


async def test_an_answer_that_is_none(tmp_path: Path) -> None:
    """503: the gateway died with it."""
    async with fronting(tmp_path, NO_LIMITS) as front:
        for said in (b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nContent-Le"):
            front.gateway.says(raw(said))
            assert_problem(await front.http.post("/v1/generate", json={}), 503, "unavailable")
            assert front.arrived == ["POST /v1/generate"]


async def test_no_request_is_sent_twice(tmp_path: Path) -> None:
    """Not to a second gateway either, when the first one takes it and dies."""
    async with listening() as one, listening() as other:
        # Without `max_fails` one that has died is left alone for 10 s.
        second = f"server {HOST}:{other.port} max_fails=0; keepalive 64;"
        two, first = {**NO_LIMITS, "keepalive 64;": second}, f"{HOST}:{one.port} max_fails=0"
        async with fronting(tmp_path, two, gateway=first) as front:
            for method in ("POST", "GET", "DELETE"):
                for peer in (one, other):
                    peer.says(raw())
                said = await front.http.request(method, "/v1/generate")
                assert_problem(said, 503, "unavailable")
                assert len(one.received) + len(other.received) == 1


async def test_a_kept_connection_that_ends(tmp_path: Path) -> None:
    """Nor when the gateway ends a connection that nginx has just sent a second request on."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", b""):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, HOST, port := free_port())
    try:
        async with fronting(tmp_path, NO_LIMITS, gateway=f"{HOST}:{port}") as front:
            assert (await front.http.post("/v1/generate")).status_code == 202
            assert_problem(await front.http.post("/v1/generate"), 503, "unavailable")
        assert len(seen) == 2
    finally:
        server.close()


# Who is slow --------------------------------------------------------------------------------------


async def test_who_is_slow_is_disconnected(tmp_path: Path) -> None:
    """In the middle of the headers, also when they drip; in the middle of the body."""
    soon = {"client_header_timeout 10s": "client_header_timeout 1s"}
    soon |= {"client_body_timeout 10s": "client_body_timeout 1s"}
    async with fronting(tmp_path, soon) as front:
        dripping, silent = await front.connect(), await front.connect()
        dripping[1].write(POST)
        silent[1].write(HOSTED + b"Content-Length: 9\r\n\r\n{")
        over = asyncio.create_task(ended(dripping[0]))
        while not over.done():
            dripping[1].write(b"x")  # never longer in between than nginx waits in all
            await asyncio.wait([over], timeout=0.1)
        assert await over == b""
        assert await ended(silent[0]) == b""
        assert front.arrived == []
        for _, writer in (dripping, silent):
            writer.close()
