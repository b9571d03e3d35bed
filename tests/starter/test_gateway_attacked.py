"""Callers who open connections and hold them: the others are served all the same.

Nor does any of this take much of the gateway's memory: `attacked` looks.
"""

import resource
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from peers.connections import RESERVED_DESCRIPTORS
from peers.http_server import MAX_HEAD_BYTES, MAX_HEADERS
from starter.request_body import BODIES_OF_ONE_BYTES, BodyRefusedError, BodyRoom
from tests.starter.attacked import (
    HALF,
    Attacked,
    attacked,
    get,
    post,
    start_request,
    until_closed,
    wait_closed,
)

PATIENT = "header_seconds = 300\nidle_seconds = 300"
"""No deadline comes while a test looks."""


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """The attacker is this process, and may open more files than the attacked one."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, most), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Closes what the attacker holds."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("descriptors", "number", "sent"), [(256, 300, b""), (1_024, 1_100, HALF)], ids=["300", "1100"]
)
def test_held_connections_give_way(
    tmp_path: Path, address: str, held: ExitStack, descriptors: int, number: int, sent: bytes
) -> None:
    """With all connections taken, health is answered on both ports, and a generation starts.

    Of those that wait, just as many are closed as there is no room for; the longest waiting first.
    """
    with attacked(tmp_path, address, PATIENT, descriptors=descriptors) as server:
        silent = []
        for _ in range(number):
            connection = held.enter_context(server.connect())
            connection.sendall(sent)
            silent.append(connection)
        room = descriptors - RESERVED_DESCRIPTORS
        wait_closed(silent, number - room)
        assert server.lives(server.health)
        wait_closed(silent, number - room)
        assert server.ask(start_request()).startswith(b"HTTP/1.1 202 ")
        assert server.lives()
        # One gave way to the request; its place was free again for the second.
        wait_closed(silent, number - room + 1)
        wait_closed(silent[: number - room + 1], number - room + 1)


def test_a_request_under_way_does_not_give_way(
    tmp_path: Path, address: str, held: ExitStack
) -> None:
    """A body that is being sent is waited for, whoever comes meanwhile."""
    with attacked(tmp_path, address, f"max_connections = 16\n{PATIENT}") as server:
        working = held.enter_context(server.connect())
        head, body = start_request("Expect: 100-continue").split(b"\r\n\r\n")
        working.sendall(head + b"\r\n\r\n")
        # It says so when it waits for the body.
        assert working.recv(65_536).startswith(b"HTTP/1.1 100 ")
        silent = [held.enter_context(server.connect()) for _ in range(20)]
        wait_closed(silent, 5)
        working.sendall(body)
        assert until_closed(working).startswith(b"HTTP/1.1 202 ")


def test_a_cap_for_each_address(tmp_path: Path, address: str, held: ExitStack) -> None:
    """One address holds so many and no more; a proxy's address is not counted."""
    settings = f'max_connections_per_address = 3\nproxies = ["127.0.0.9"]\n{PATIENT}'
    with attacked(tmp_path, address, settings) as server:
        one = [held.enter_context(server.connect("127.0.0.2")) for _ in range(8)]
        wait_closed(one, 5)
        proxy = [held.enter_context(server.connect("127.0.0.9")) for _ in range(8)]
        assert server.ask(start_request(), source="127.0.0.2").startswith(b"HTTP/1.1 202 ")
        wait_closed(one, 6)
        wait_closed(proxy, 0)


@pytest.mark.parametrize("sent", [b"", b"\r\n", HALF], ids=["silent", "empty line", "half"])
def test_headers_have_a_deadline(
    tmp_path: Path, address: str, held: ExitStack, sent: bytes
) -> None:
    """Who does not send its headers in time is cut off, without an answer."""
    settings = "header_seconds = 0.5\nidle_seconds = 300"
    with attacked(tmp_path, address, settings) as server:
        connection = held.enter_context(server.connect())
        connection.sendall(sent)
        assert until_closed(connection) == b""


def test_bytes_one_by_one_do_not_extend_it(tmp_path: Path, address: str, held: ExitStack) -> None:
    """A byte now and then is no sign of life: the deadline is over all headers."""
    settings = "header_seconds = 1\nidle_seconds = 300"
    with attacked(tmp_path, address, settings) as server:
        connection = held.enter_context(server.connect())
        connection.settimeout(0.1)
        connection.sendall(HALF)
        for _ in range(600):
            try:
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                connection.sendall(b"a")
            except ConnectionResetError:
                return
        pytest.fail("it was never cut off")


def test_idle_connections_have_a_deadline(tmp_path: Path, address: str, held: ExitStack) -> None:
    """Between two requests, bytes that begin none do not extend it."""
    settings = "header_seconds = 300\nidle_seconds = 0.5"
    with attacked(tmp_path, address, settings) as server:
        connection = held.enter_context(server.connect())
        connection.sendall(get("/health"))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"\r\n")
        assert until_closed(connection) in (b"", b'{"status":"live"}')


def test_a_body_after_the_answer_has_a_deadline(
    tmp_path: Path, address: str, held: ExitStack
) -> None:
    """Who was refused without a key cannot hold the connection by a body that never ends."""
    settings = "header_seconds = 0.5\nidle_seconds = 300"
    with attacked(tmp_path, address, settings) as server:
        connection = held.enter_context(server.connect())
        connection.sendall(
            b"POST /v1/generations HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\n{"
        )
        assert until_closed(connection).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "sent",
    [
        get("/health", "X-Long: " + "a" * MAX_HEAD_BYTES),
        get("/health", *("a:" for _ in range(MAX_HEADERS))),
        get("/health?" + "a" * MAX_HEAD_BYTES),
        HALF + b"a" * MAX_HEAD_BYTES,
        b"\r\n" * MAX_HEAD_BYTES,
    ],
    ids=["one", "many", "query", "without an end", "empty lines"],
)
def test_too_large_headers(tmp_path: Path, address: str, sent: bytes) -> None:
    """431, and the connection is closed."""
    with attacked(tmp_path, address, PATIENT) as server:
        answer = server.ask(sent)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"\r\nconnection: close\r\n" in answer


def test_chunks_without_content_are_cut_off(tmp_path: Path, address: str, held: ExitStack) -> None:
    """Extensions of a chunk, and trailers, are kept nowhere without a limit."""
    head = post("Transfer-Encoding: chunked")
    with attacked(tmp_path, address, PATIENT) as server:
        for begin in (b"1;a=", b"0\r\nX-Trailer: "):
            connection = held.enter_context(server.connect())
            connection.sendall(head + begin)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                connection.sendall(b"a" * 100_000_000)


def test_too_many_requests_in_one_go(tmp_path: Path, address: str) -> None:
    """Some pipelined requests are answered in order; hundreds end the connection."""
    with attacked(tmp_path, address, PATIENT) as server:
        few = server.ask(get("/health") * 7 + get("/health", "Connection: close"))
        assert few.count(b'{"status":"live"}') == 8
        assert server.ask(get("/health") * 1_000).count(b'{"status":"live"}') < 1_000
        assert server.lives()


LARGEST = [
    b'{"prompt":"' + b"x" * 262_000 + b'"}',
    b"[" + b"[]," * 87_000 + b"[]]",
    b'{"a":' * 52_000,
]
"""One text, many elements, many levels: what took the most of a few more that were tried."""


FIT = BODIES_OF_ONE_BYTES // max(map(len, LARGEST))
"""So many of them one key may send at once."""


def _each(connections: list[socket.socket], part: bytes) -> None:
    for connection in connections:
        with suppress(ConnectionError):  # it has its answer
            connection.sendall(part)


def _together(server: Attacked, body: bytes, number: int) -> set[bytes]:
    """How so many bodies are answered that are all there before the first one ends."""
    head = post("Connection: close", f"Content-Length: {len(body)}")
    with ExitStack() as held:
        sending = [held.enter_context(server.connect()) for _ in range(number)]
        _each(sending, head + body[:-1])
        if number > FIT:
            answered = select.poll()
            for connection in sending:
                answered.register(connection, select.POLLIN)
            assert answered.poll(60_000)  # somebody is refused, for no body has ended
        _each(sending, body[-1:])
        return {until_closed(connection)[9:12] for connection in sending}


def test_the_largest_bodies_take_little_memory(tmp_path: Path, address: str) -> None:
    """As many as one key may send at once."""
    with attacked(tmp_path, address, PATIENT) as server:
        for body in LARGEST:
            # 408: a machine that is too slow to send them all in time.
            assert _together(server, body, FIT) <= {b"400", b"422", b"408"}


def test_one_key_has_a_part_of_the_room_for_bodies(tmp_path: Path, address: str) -> None:
    """What it holds beyond that is refused; without a bound, these would take 118 MB."""
    with attacked(tmp_path, address, PATIENT) as server:
        answers = _together(server, LARGEST[0], 450)
        # One whose connection ends before its body is read has no answer.
        assert b"503" in answers
        assert answers <= {b"422", b"408", b"503", b""}


def test_room_for_bodies_is_shared() -> None:
    """One caller gets no more than a part, all together no more than there is; it is given back."""
    room = BodyRoom(everybodys=100, of_one=60)
    with room.held("a") as first, room.held("b") as second:
        first(60)
        with pytest.raises(BodyRefusedError), room.held("a") as more:
            more(1)
        second(40)
        with pytest.raises(BodyRefusedError), room.held("c") as more:
            more(1)
    with room.held("a") as again:
        again(60)
