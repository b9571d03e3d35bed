"""Requests that are no proper HTTP, or that two servers would read differently."""

from collections.abc import Iterator

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.starter.attacked import Attacked, attacked, get
from tests.starter.entry_points import KEY

CLOSE = "Connection: close"
POST = b"POST /v1/generations HTTP/1.1\r\nHost: gateway\r\n"
SMUGGLED = b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n"

REFUSED = {
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/0.9": b"GET /health\r\n\r\n",
    "http/9.9": b"GET /health HTTP/9.9\r\nHost: gateway\r\n\r\n",
    "a space before the colon": get("/health", "Content-Length : 5"),
    "a folded header": get("/health", "X-Folded: a\r\n b"),
    "a header without a name": get("/health", ": a"),
    "a header without a colon": get("/health", "nonsense"),
    "NUL in a header": get("/health", "X-A: a\0b"),
    "a bare CR in a header": get("/health", "X-A: a\rX-B: b"),
    "a header ended by LF alone": b"GET /health HTTP/1.1\nHost: gateway\nConnection: close\n\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}" + SMUGGLED,
    "a list of lengths": POST + b"Content-Length: 2, 60\r\n\r\n{}" + SMUGGLED,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "a length of 2^64": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "length and chunks": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "chunks not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks misspelt": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk's size that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nZ\r\n" + SMUGGLED,
    "a chunk's size of 2^64": POST
    + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"
    + SMUGGLED,
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "not ascii": "GET /gäteway HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode(),
    "no host": b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": get("/health", "Host: other", CLOSE),
}

TAKEN = {
    "a hundred headers": (get("/health", CLOSE, *("a:" for _ in range(98))), 200),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n", 404),
    "http/1.0": (b"GET /health HTTP/1.0\r\n\r\n", 200),
    "http/1.0 that stays": (b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
    "an empty line before": (b"\r\n" + get("/health", CLOSE), 200),
    "absolute form": (get("http://evil.example/health", CLOSE), 200),
    "another host": (
        b"GET /health HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE.encode() + b"\r\n\r\n",
        200,
    ),
    "an encoded slash": (get("/v1%2Fgenerations", CLOSE), 405),
    "up and away": (get("/static-offline-docs/../../../etc/passwd", CLOSE), 404),
    "up, encoded": (get("/static-offline-docs/%2e%2e/%2e%2e/core.py", CLOSE), 404),
    "NUL in the path": (get("/static-offline-docs/%00", CLOSE), 404),
    "a path that is no text": (get("/%ff%fe", CLOSE), 404),
    "an unknown method": (b"BREW /health HTTP/1.1\r\nHost: gateway\r\n\r\n", 400),
    "a method it does not take": (get("/health", CLOSE).replace(b"GET", b"PATCH", 1), 405),
    "an upgrade": (get("/health", "Connection: upgrade, close", "Upgrade: websocket"), 200),
    "two keys": (
        get(
            "/v1/generations/x",
            "Authorization: Bearer wrong",
            f"Authorization: Bearer {KEY}",
            CLOSE,
        ),
        401,
    ),
}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, server: WorkflowEnvironment
) -> Iterator[Attacked]:
    """One gateway for all; at the end it must still run."""
    temporal = server.client.service_client.config.target_host
    # What is neither refused nor answered is cut off at once, and so found.
    settings = "header_seconds = 20\nidle_seconds = 5"
    with attacked(tmp_path_factory.mktemp("wire"), temporal, settings) as running:
        yield running


def statuses(answer: bytes) -> list[int]:
    """The status of each answer in what came back."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_what_is_ambiguous_is_refused(server: Attacked, request_: bytes) -> None:
    """One 400, and the connection is closed: nothing behind it is read as a request."""
    answer = server.ask(request_)
    assert statuses(answer) == [400]
    assert server.lives()


@pytest.mark.parametrize(("request_", "status"), TAKEN.values(), ids=TAKEN)
def test_what_is_unusual_has_one_answer(server: Attacked, request_: bytes, status: int) -> None:
    """Unusual and unambiguous: it is read in one way, and never a 5xx."""
    assert statuses(server.ask(request_)) == [status]
    assert server.lives()
