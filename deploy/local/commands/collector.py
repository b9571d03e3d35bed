"""A small OTLP/HTTP receiver: keeps the spans it is sent, decoded from the wire, in memory.

For the demo, which shows a generation's trace without any tracing backend, and for the tests.
"""

import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self

import uvicorn
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.sandbox.serving import HOST

PROTOBUF = "application/x-protobuf"


class ReceivedSpan(NamedTuple):
    """What is kept of a span; ids in hexadecimal, `parent_id` empty for a root."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]


class Collector:
    """Listens on a free port of loopback while its block runs."""

    def __init__(self) -> None:
        self._spans: list[ReceivedSpan] = []
        self._bodies: list[bytes] = []
        self._changed = threading.Condition()
        app = Starlette(routes=[Route("/v1/traces", self._take, methods=["POST"])])
        self._socket = socket.create_server((HOST, 0))
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="collector", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    @property
    def spans(self) -> list[ReceivedSpan]:
        """All that have come so far."""
        with self._changed:
            return list(self._spans)

    @property
    def bodies(self) -> list[bytes]:
        """The same as it came: what a span says beyond what is kept of it."""
        with self._changed:
            return list(self._bodies)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace that have come so far."""
        with self._changed:
            return [span for span in self._spans if span.trace_id == trace_id]

    def wait_for(self, trace_id: str, names: set[str], seconds: float) -> list[ReceivedSpan]:
        """The trace as soon as it has spans of all these names, or as it is when time is up."""
        with self._changed:
            self._changed.wait_for(
                lambda: names <= {s.name for s in self._spans if s.trace_id == trace_id}, seconds
            )
        return self.trace(trace_id)

    async def _take(self, request: Request) -> Response:
        try:
            body = await request.body()
            sent = ExportTraceServiceRequest.FromString(body)
        except DecodeError as error:
            return Response(f"not OTLP in protobuf: {error}", status_code=400)
        found = [
            ReceivedSpan(
                service=_service(resource_spans.resource.attributes),
                name=span.name,
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                attributes={each.key: _text(each.value) for each in span.attributes},
            )
            for resource_spans in sent.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]
        with self._changed:
            self._spans += found
            self._bodies.append(body)
            self._changed.notify_all()
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type=PROTOBUF)


def _service(attributes: Iterable[KeyValue]) -> str:
    return next((_text(each.value) for each in attributes if each.key == "service.name"), "")


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return str(getattr(value, kind)) if kind else ""
