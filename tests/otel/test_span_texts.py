"""No span takes along what others wrote: texts of errors, and what stands behind `?` in a link."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import sys
from opentelemetry import trace
from temporalio.contrib.opentelemetry import create_tracer_provider
from temporalio.exceptions import ApplicationError
from activities.errors import ProviderError
from contracts.errors import ErrorCode
from otel.setup import configure

assert configure("duragen-worker", create_tracer_provider if sys.argv[1] == "worker" else None)
tracer = trace.get_tracer("test")
for error in (
    ProviderError(ErrorCode.AUTH_CONFIG, "a PROMPT").to_application_error(),
    ApplicationError("a PROMPT", type="PROMPT"),
    ValueError("AUTH_CONFIG"),
    RuntimeError("a PROMPT: AUTH_CONFIG: of a service"),
):
    try:
        with tracer.start_as_current_span("a call") as span:
            span.set_attribute("http.url", "https://images.example/a/b?X-Amz-Signature=PROMPT&b=c")
            span.set_attribute("url.query", "token=PROMPT")
            span.set_attribute("duragen.request_id", "why?")
            try:
                raise ValueError("the PROMPT as a cause")
            except ValueError as cause:
                raise error from cause
    except Exception:
        pass
trace.get_tracer_provider().shutdown()
"""


def spans_of(process: str) -> tuple[str, list[dict[str, Any]]]:
    """What a process sends with four failed spans: as it is, and read."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, process],
        env=plain | {"OTEL_TRACES_EXPORTER": "console"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rest, spans = said, []
    while rest := rest.lstrip():
        span, end = json.JSONDecoder().raw_decode(rest)
        spans.append(span)
        rest = rest[end:]
    return said, spans


@pytest.mark.parametrize("process", ["worker", "gateway"])
def test_an_error_keeps_its_type_and_our_code(process: str) -> None:
    """Message, stack trace and description are left out; the code that begins them stays."""
    said, spans = spans_of(process)
    assert "PROMPT" not in said
    assert "stacktrace" not in said
    events = [event["attributes"] for span in spans for event in span["events"]]
    assert [event["exception.type"].rpartition(".")[2] for event in events] == [
        "ApplicationError",
        "ApplicationError",
        "ValueError",
        "RuntimeError",
    ]
    codes = ["AUTH_CONFIG", None, "AUTH_CONFIG", None]
    assert [event.get("exception.message") for event in events] == codes
    assert [span["status"].get("description") for span in spans] == codes
    assert {span["status"]["status_code"] for span in spans} == {"ERROR"}
    assert {event["exception.escaped"] for event in events} == {"False"}


def test_the_rest_of_a_span_stays() -> None:
    """Only the query of an address goes: it may be a signature."""
    _, spans = spans_of("gateway")
    for span in spans:
        assert span["name"] == "a call"
        assert span["kind"] == "SpanKind.INTERNAL"
        assert span["attributes"] == {
            "http.url": "https://images.example/a/b",
            "duragen.request_id": "why?",
        }
        assert span["resource"]["attributes"]["service.name"] == "duragen-worker"
        assert span["start_time"] < span["end_time"]
