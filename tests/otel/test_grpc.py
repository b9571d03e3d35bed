"""Traces by OTLP over gRPC, to a real gRPC server."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

PROGRAM = """
from opentelemetry import trace
from otel.setup import configure

assert configure("duragen-worker")
try:
    with trace.get_tracer("test").start_as_current_span("a span"):
        raise ValueError("a PROMPT")
except ValueError:
    pass
trace.get_tracer_provider().shutdown()
"""
WITHOUT = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.grpc'] = None\n"


def run(program: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, since a tracer provider is set once a process."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ours = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=plain | ours,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_span_comes_by_grpc() -> None:
    """With `OTEL_EXPORTER_OTLP_PROTOCOL=grpc` a collector gets them, without texts of errors."""
    names: list[str] = []
    sent: list[bytes] = []
    came = threading.Event()

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802  # gRPC's own
            sent.append(request.SerializeToString())
            names.extend(
                span.name
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            )
            came.set()
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        ended = run(PROGRAM, f"http://127.0.0.1:{port}")
        assert ended.returncode == 0, ended.stderr
        assert came.is_set()
        assert names == ["a span"]
        assert b"ValueError" in sent[0]
        assert b"PROMPT" not in sent[0]
    finally:
        server.stop(None).wait()


def test_without_the_extra_it_is_named() -> None:
    """Where the package is missing, the text says how to install it."""
    ended = run(WITHOUT + PROGRAM, "http://127.0.0.1:1")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc needs the extra `grpc`" in ended.stderr
