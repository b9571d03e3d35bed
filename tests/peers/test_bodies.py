"""Bodies from real peers: raw bytes are counted, one layer of gzip is undone, no more."""

import gzip
import zlib

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peers import bodies
from peers.bodies import BodyError, BoundedBody, EncodingError, TooLargeError
from peers.http import Answer, call
from tests.activities.http_peer import Peer, Reply, answer, chunked, raw

TEXT = b'{"status": "Ready"}' * 1_000


async def got(peer: Peer, reply: Reply, max_bytes: int = 100_000) -> Answer:
    """What a call brings, by a client as others are."""
    peer.says(reply)
    async with httpx.AsyncClient(trust_env=False) as client:
        return await call(client, "GET", peer.url, timeout_seconds=30, max_bytes=max_bytes)


def packed(body: bytes, encoding: str, status: int = 200) -> Reply:
    """An answer under a Content-Encoding."""
    return answer(status, body, {"content-encoding": encoding})


async def test_nothing_packed_is_asked_for(peer: Peer) -> None:
    """Identity is asked for, in the place of what httpx would take."""
    await got(peer, answer(200, "ok"))
    assert peer.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity, gzip", " gzip ,"])
async def test_one_layer_of_gzip(peer: Peer, encoding: str) -> None:
    """Some proxies pack all that passes."""
    found = await got(peer, packed(gzip.compress(TEXT), encoding))
    assert found.body == TEXT


async def test_identity(peer: Peer) -> None:
    """Said or not, it is no layer."""
    assert (await got(peer, packed(TEXT, "identity"))).body == TEXT
    assert (await got(peer, chunked(TEXT))).body == TEXT
    assert (await got(peer, packed(b"", "gzip"))).body == b""


@pytest.mark.parametrize(
    "encoding", ["gzip, gzip", "gzip,identity,gzip", "deflate", "br", "zstd", "compress", "x"]
)
async def test_anything_else_is_refused(peer: Peer, encoding: str) -> None:
    """Several layers, and what is not gzip."""
    with pytest.raises(EncodingError):
        await got(peer, packed(gzip.compress(gzip.compress(TEXT)), encoding))


async def test_layers_in_two_lines(peer: Peer) -> None:
    """RFC 9110, 5.3: two header lines are one list."""
    twice = gzip.compress(gzip.compress(TEXT))
    lines = b"content-encoding: gzip\r\n" * 2
    with pytest.raises(EncodingError):
        await got(peer, raw(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", twice))


@pytest.mark.parametrize(
    "body",
    [
        b"not gzip",
        gzip.compress(TEXT)[:-9],
        gzip.compress(TEXT)[:-1],
        gzip.compress(TEXT) + b"x",
        gzip.compress(TEXT) + gzip.compress(TEXT),
        zlib.compress(TEXT),
        b"\x1f\x8b\x08",
    ],
    ids=["no gzip", "cut", "cut in its sum", "trailing", "two members", "zlib", "its beginning"],
)
async def test_not_the_gzip_it_says(peer: Peer, body: bytes) -> None:
    """Cut, continued, or something else: it is not guessed at."""
    with pytest.raises(EncodingError):
        await got(peer, packed(body, "gzip"))


async def test_unpacked_beyond_the_bound(peer: Peer) -> None:
    """The bound holds for what is unpacked, to the byte."""
    body = gzip.compress(b" " * 100_001)
    with pytest.raises(TooLargeError):
        await got(peer, packed(body, "gzip"))
    assert len((await got(peer, packed(body, "gzip"), 100_001)).body) == 100_001


@pytest.mark.parametrize("reply", [answer(200, b" " * 100_001), chunked(b" " * 100_001)])
async def test_raw_beyond_the_bound(peer: Peer, reply: Reply) -> None:
    """Announced or not."""
    with pytest.raises(TooLargeError):
        await got(peer, reply)


def test_what_is_held_while_it_unpacks() -> None:
    """A megabyte of zeros in a kilobyte: never more than the bound and a piece is unpacked."""
    body = BoundedBody(httpx.Headers({"content-encoding": "gzip"}), 1_000_000)
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    pieces = body.feed(bomb)
    for _ in range(1_000_000 // bodies.PIECE_BYTES):
        next(pieces)
    with pytest.raises(TooLargeError):
        next(pieces)


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
@pytest.mark.parametrize(
    "reply",
    [
        lambda status: answer(status, b"e" * 3_000_000),
        lambda status: packed(gzip.compress(b"e" * 3_000_000), "gzip", status),
    ],
    ids=["plain", "gzip"],
)
async def test_of_an_error_its_beginning(peer: Peer, status: int, reply: object) -> None:
    """It is cut and not refused: the status decides."""
    assert callable(reply)
    found = await got(peer, reply(status), 50_000_000)
    assert (found.status, found.body) == (status, b"e" * bodies.ERROR_BYTES)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "gzip"])
async def test_an_error_that_cannot_be_read(peer: Peer, encoding: str) -> None:
    """Its status decides all the same."""
    found = await got(peer, packed(b"nothing of it", encoding, 429))
    assert (found.status, found.body) == (429, b"")


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.binary(max_size=2_000),
    st.integers(min_value=1, max_value=400),
    st.sampled_from(["", "gzip", "br", "gzip, gzip"]),
    st.booleans(),
    st.booleans(),
)
def test_any_bytes_in_any_chunks(
    sent: bytes, size: int, encoding: str, well_packed: bool, cut: bool
) -> None:
    """A body within the bound, or a BodyError; never anything else, and of an error no error."""
    wire = gzip.compress(sent * 3) if well_packed and encoding == "gzip" else sent
    expected = sent * 3 if wire is not sent else sent
    try:
        body = BoundedBody(httpx.Headers({"content-encoding": encoding}), 1_500, cut=cut)
        for start in range(0, len(wire), size):
            for _ in body.feed(wire[start : start + size]):
                pass
        whole = body.whole()
    except BodyError:
        assert not cut
        return
    assert len(whole) <= 1_500
    if encoding == "" or wire is not sent:
        assert whole == expected[:1_500]
