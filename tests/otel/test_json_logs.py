"""Log lines: each is one JSON object with the ids, whatever was logged."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel.correlation import Correlation, bound
from otel.logs import JsonFormatter

IDS = Correlation(
    UUID("4bf92f35-77b3-4da6-a3ce-929d0e0e4736"), UUID("0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01")
)


def line(message: object = "hello %s", *args: object, **more: Any) -> dict[str, Any]:
    """What a reader of the log finds: strict JSON on a single line."""
    where = ("duragen.test", logging.WARNING, __file__, 1)
    exc_info, extra = more.get("exc_info"), more.get("extra")
    logger = logging.getLogger("duragen.test")
    record = logger.makeRecord(*where, message, args, exc_info, extra=extra)
    text = JsonFormatter().format(record)
    assert "\n" not in text

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(text.encode("utf-8"), parse_constant=refuse)
    assert isinstance(read, dict)
    return read


def test_plain() -> None:
    """Time, level, logger and message; no ids outside of a generation."""
    read = line("hello %s", "world")
    assert read.pop("time").endswith("+00:00")
    assert read == {"level": "warning", "logger": "duragen.test", "message": "hello world"}


def test_ids() -> None:
    """Inside a generation each line has its ids, and those of the span."""
    span = SpanContext(IDS.correlation_id.int, 0xABC, is_remote=False)
    with bound(IDS), trace.use_span(NonRecordingSpan(span)):
        read = line("x")
    assert read["correlationId"] == str(IDS.correlation_id)
    assert read["requestId"] == str(IDS.request_id)
    assert (read["trace_id"], read["span_id"]) == (IDS.correlation_id.hex, f"{0xABC:016x}")


def test_exception() -> None:
    """An exception is in the line of its log, traceback and cause, beside the ids."""

    def fail() -> None:
        try:
            dict[str, int]()["the cause"]
        except KeyError as cause:
            raise RuntimeError("the effect") from cause

    with bound(IDS):
        try:
            fail()
        except RuntimeError:
            read = line("it failed", exc_info=sys.exc_info())
    assert "KeyError: 'the cause'" in read["exception"]
    assert "RuntimeError: the effect" in read["exception"]
    assert read["requestId"] == str(IDS.request_id)


class Odd:
    """Something that JSON has no word for."""

    def __repr__(self) -> str:
        return "<odd>"


def cycle() -> list[Any]:
    """A list that holds itself."""
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda: 7, 7),
        (lambda: {"a": [1, None]}, {"a": [1, None]}),
        (Odd, "<odd>"),
        (lambda: IDS.request_id, str(IDS.request_id)),
        (lambda: b"\xff", "b'\\xff'"),
        (lambda: float("nan"), "nan"),
        (lambda: float("-inf"), "-inf"),
        (lambda: {(1, 2): "a key that is no text"}, "{(1, 2): 'a key that is no text'}"),
        (cycle, "[[...]]"),
        (lambda: "line\nbreak\u2028\x00", "line\nbreak\u2028\x00"),
        (lambda: "half a pair \ud800", "half a pair \ud800"),
        (lambda: "Zürich \U0001f3a8", "Zürich \U0001f3a8"),
    ],
)
def test_odd_values(make: Callable[[], object], written: object) -> None:
    """A value that JSON lacks is written as its text; the line stays one line, and JSON."""
    read = line("x", extra={"value": make()})
    assert read["value"] == written
    assert read["message"] == "x"


def test_odd_message() -> None:
    """A message may hold line breaks, quotes and halves of pairs."""
    assert line('a "b"\nc \ud800')["message"] == 'a "b"\nc \ud800'


@pytest.mark.parametrize("name", ["level", "logger", "time", "correlationId", "requestId"])
def test_extra_never_hides_what_must_stand(name: str) -> None:
    """An extra of a library does not take the place of what stands in every line."""
    with bound(IDS):
        assert line("x", extra={name: "hidden"})[name] != "hidden"


def test_a_process_logs_json() -> None:
    """Once configured, everything goes to stderr as JSON; chatty libraries only warn."""
    program = (
        "import logging, otel.logs\n"
        "otel.logs.configure_logging()\n"
        "logging.getLogger('duragen').info('logged')\n"
        "logging.getLogger('duragen').debug('not logged')\n"
        "logging.getLogger('httpx').info('not logged')\n"
        "logging.getLogger('httpx').warning('logged as well %s', '\\ud800')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    read = [json.loads(text) for text in ended.stderr.splitlines()]
    assert [entry["message"] for entry in read] == ["logged", "logged as well \ud800"]
    assert ended.stdout == b""
