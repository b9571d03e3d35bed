"""Tracing from the standard variables: off without an endpoint, clear about a wrong value.

Each case runs in a process of its own, because a tracer provider is set once per process.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import json
from opentelemetry import trace
from otel import setup

try:
    configured = setup.configure("duragen-worker")
except ValueError as error:
    print(json.dumps({"error": str(error)}))
else:
    provider = trace.get_tracer_provider()
    resource = getattr(provider, "resource", None)
    print(json.dumps({
        "configured": configured,
        "service": resource and resource.attributes["service.name"],
        "kind": type(provider).__name__,
    }))
    if configured:
        provider.shutdown()
"""

HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


def configured(**variables: str) -> dict[str, Any]:
    """What a process with these `OTEL_*` variables, and no others, ends up with."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=plain | variables, capture_output=True, check=True
    )
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[0])
    return result


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        HERE | {"OTEL_SDK_DISABLED": "true"},
        HERE | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_off(variables: dict[str, str]) -> None:
    """Without an endpoint, or when it is switched off, nothing is made."""
    found = configured(**variables)
    assert found == {"configured": False, "service": None, "kind": "ProxyTracerProvider"}


@pytest.mark.parametrize(
    "variables",
    [
        HERE,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "console"},
        HERE | {"OTEL_TRACES_EXPORTER": "", "OTEL_EXPORTER_OTLP_PROTOCOL": ""},
        HERE
        | {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "json",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        },
    ],
)
def test_on(variables: dict[str, str]) -> None:
    """An endpoint switches tracing on; an empty variable is an unset one."""
    found = configured(**variables)
    assert found == {"configured": True, "service": "duragen-worker", "kind": "TracerProvider"}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER='zipkin'"),
        (HERE | {"OTEL_EXPORTER_OTLP_PROTOCOL": "json"}, "OTEL_EXPORTER_OTLP_PROTOCOL='json'"),
        (
            HERE | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL='json'",
        ),
    ],
)
def test_wrong_variable(variables: dict[str, str], named: str) -> None:
    """A wrong variable is named with its value and with what would be right."""
    assert configured(**variables)["error"].startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("variables", "service"),
    [
        ({}, "duragen-worker"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_SERVICE_NAME": ""}, "duragen-worker"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,team=images"}, "ours"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=images"}, "duragen-worker"),
        (
            {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "service.name=ours"},
            "mine",
        ),
    ],
)
def test_service_name(variables: dict[str, str], service: str) -> None:
    """The operator's name for the service wins over ours, however it is given."""
    assert configured(**HERE, **variables)["service"] == service
