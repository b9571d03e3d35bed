"""The client for those without access to Temporal, against the real gateway."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest
from typer import Exit

from starter.cli import exits
from starter.cli.exits import errors_reported
from starter.client import (
    ConflictError,
    NotFinishedError,
    NotFoundError,
    SetupError,
    UnauthorizedError,
    UnavailableError,
    ValidationError,
)
from starter.gateway_client import GatewayClient
from tests.ports import free_port
from tests.starter.entry_points import (
    KEY,
    make_event,
)


async def test_it_starts_asks_and_cancels(caller: GatewayClient) -> None:
    """The same methods with the same meaning as over Temporal."""
    event = make_event()
    started = await asyncio.to_thread(caller.start, event)
    again = await asyncio.to_thread(caller.start, event)
    assert (started.created, again.created, again.run_id) == (True, False, started.run_id)
    assert (await asyncio.to_thread(caller.status, event["requestId"]))["state"] == "accepted"
    assert await asyncio.to_thread(caller.cancel, started.workflow_id)


async def test_result_stops_waiting(caller: GatewayClient) -> None:
    """`result` waits no longer than it was asked to."""
    started = await asyncio.to_thread(caller.start, make_event())
    with pytest.raises(NotFinishedError):
        await asyncio.to_thread(caller.result, started.request_id, 0)


async def test_a_conflict_is_typed(caller: GatewayClient) -> None:
    """409 is ConflictError."""
    event = make_event()
    await asyncio.to_thread(caller.start, event)
    with pytest.raises(ConflictError):
        await asyncio.to_thread(caller.start, {**event, "prompt": "else"})


async def test_the_gateways_check_names_the_field(caller: GatewayClient) -> None:
    """422 is ValidationError with the gateway's own list, past what the client checks itself."""
    with pytest.raises(ValidationError) as caught:
        await asyncio.to_thread(caller.start, make_event(aspectRatio="16:9", seed=-1))
    assert {fault["field"] for fault in caught.value.errors} == {"seed"}


async def test_a_wrong_key_is_typed(gateway: str) -> None:
    """401 is UnauthorizedError."""
    with pytest.raises(UnauthorizedError):
        await asyncio.to_thread(GatewayClient(gateway, "wrong").status, str(uuid4()))


async def test_an_unknown_request_is_typed(caller: GatewayClient) -> None:
    """404 is NotFoundError."""
    with pytest.raises(NotFoundError):
        await asyncio.to_thread(caller.status, str(uuid4()))


async def test_ping_distinguishes_a_right_key_from_a_wrong_one(
    gateway: str, caller: GatewayClient
) -> None:
    """Nothing needs to be generated to know whether it could be."""
    await asyncio.to_thread(caller.ping)
    with pytest.raises(UnauthorizedError):
        await asyncio.to_thread(GatewayClient(gateway, "wrong").ping)


def test_nobody_there_is_typed() -> None:
    """A refused connection is UnavailableError."""
    with pytest.raises(UnavailableError):
        GatewayClient(f"http://127.0.0.1:{free_port()}", KEY, retry_seconds=()).start(make_event())


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these raw answers in turn, then the last one for ever."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["traceparent"])
            self.wfile.write(answers[min(len(asked), len(answers)) - 1])

        def do_GET(self) -> None:
            asked.append("GET")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


AWAY = b"HTTP/1.0 503 Away\r\nRetry-After: 1\r\n\r\n"


def test_503_is_tried_again() -> None:
    """Three more attempts after a 503, then UnavailableError."""
    with answering(AWAY) as (url, asked):
        with pytest.raises(UnavailableError):
            GatewayClient(url, KEY, retry_seconds=(0.01, 0.02, 0.04)).start(make_event())
        assert len(asked) == 4


def test_a_limit_is_no_outage(capsys: pytest.CaptureFixture[str]) -> None:
    """The gateway's words are shown, and nobody is sent to look whether it runs."""
    limited = b'HTTP/1.0 429 Many\r\n\r\n{"detail": "2 are under way: wait for one"}'
    with answering(limited) as (url, _), pytest.raises(Exit) as left, errors_reported(url):
        GatewayClient(url, KEY, retry_seconds=()).start(make_event())
    assert left.value.exit_code == exits.UNREACHABLE
    said = capsys.readouterr().err
    assert said == "duragen: 2 are under way: wait for one; then send it again\n"


def test_an_outage_that_ends_is_not_noticed() -> None:
    """An attempt after the outage succeeds."""
    body = b'{"requestId": "a", "workflowId": "b", "runId": "c", "created": true}'
    with answering(AWAY, b"HTTP/1.0 202 OK\r\n\r\n" + body) as (url, _):
        assert GatewayClient(url, KEY, retry_seconds=(0.01,)).start(make_event()).created


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 202 OK\r\n\r\n<html>", b"nonsense\r\n\r\n"])
def test_an_answer_that_is_none_is_unavailable(answer: bytes) -> None:
    """Nothing, a page or nonsense never escapes as another error."""
    with answering(answer) as (url, _), pytest.raises(UnavailableError):
        GatewayClient(url, KEY, retry_seconds=()).start(make_event())


def test_a_redirect_is_not_followed() -> None:
    """The key goes to the gateway that was named and nowhere else."""
    with answering(b"HTTP/1.0 202 OK\r\n\r\n{}") as (thief, asked):
        redirect = f"HTTP/1.0 302 Over there\r\nLocation: {thief}/\r\n\r\n".encode()
        with answering(redirect) as (url, _), pytest.raises(SetupError):
            GatewayClient(url, KEY, retry_seconds=()).start(make_event())
    assert asked == []


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_a_proxy_is_not_taken_for_the_gateway(status: int) -> None:
    """A proxy's page decides nothing: that takes the gateway's own problem document."""
    page = f"HTTP/1.0 {status} No\r\nContent-Type: text/html\r\n\r\n<h1>No</h1>".encode()
    with answering(page) as (url, _), pytest.raises(SetupError):
        GatewayClient(url, KEY, retry_seconds=()).start(make_event())


async def test_a_wrong_address_loses_no_generation(gateway: str) -> None:
    """The gateway's 404 for a path that it does not have is not "no such generation"."""
    caller = GatewayClient(gateway + "/prefix", KEY, retry_seconds=())
    with pytest.raises(SetupError):
        await asyncio.to_thread(caller.status, str(uuid4()))
    with pytest.raises(SetupError):
        await asyncio.to_thread(caller.ping)
