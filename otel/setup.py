"""Tracing from the standard `OTEL_*` variables. Without an endpoint nothing is made or exported.

Honoured here: `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` (`otlp`, `console`, `none`),
`OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT`, `OTEL_EXPORTER_OTLP_[TRACES_]PROTOCOL` (`http/protobuf`;
`grpc` with the extra `grpc`), `OTEL_SERVICE_NAME`; all others (headers, batching, sampling,
resource) by the SDK itself.
"""

import os
from collections.abc import Callable
from typing import Protocol

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from otel.sampling import CorrelationSampler
from otel.span_texts import WithoutTexts


class Provider(Protocol):
    """What is asked of a tracer provider: the SDK's own and Temporal's replay-safe one have it."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Hand each ended span to `span_processor`."""


def _wanted_exporter() -> SpanExporter | None:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    # An empty variable is an unset one. spec: OpenTelemetry, Environment Variable Specification
    kind = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if kind == "console":
        return ConsoleSpanExporter()
    if kind == "none":
        return None
    if kind != "otlp":
        raise ValueError(f"OTEL_TRACES_EXPORTER={kind!r}: use otlp, console or none")
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not any(os.environ.get(name) for name in endpoints):
        return None
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(name)
        if protocol == "grpc":
            return _grpc_exporter(name)
        if protocol == "http/protobuf":
            break
        if protocol:
            raise ValueError(f"{name}={protocol!r}: use http/protobuf or grpc")
    return OTLPSpanExporter()


def _grpc_exporter(variable: str) -> SpanExporter:
    try:
        # An extra of its own: grpcio is larger than all the rest of telemetry together.
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter  # noqa: PLC0415
    except ImportError:
        raise ValueError(
            f"{variable}=grpc needs the extra `grpc`: pip install 'duragen[grpc]',"
            " or use http/protobuf"
        ) from None
    return trace_exporter.OTLPSpanExporter()


def configure(service_name: str, make_provider: Callable[..., Provider] | None = None) -> bool:
    """Set the global tracer provider when the environment asks for traces; return whether it did.

    `make_provider` is called with `resource=` and `sampler=`; a worker passes Temporal's replay-
    safe one. Spans still in memory are flushed at exit. Raises ValueError naming a wrong variable.
    """
    exporter = _wanted_exporter()
    if exporter is None:
        return False
    # The SDK lets code win over OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES; we do not.
    resource = Resource.create()
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": service_name}))
    # The SDK reads OTEL_TRACES_SAMPLER where a provider is made, and nowhere else.
    wanted = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
    sampler = CorrelationSampler(wanted)
    provider = (make_provider or TracerProvider)(resource=resource, sampler=sampler)
    provider.add_span_processor(BatchSpanProcessor(WithoutTexts(exporter)))
    trace.set_tracer_provider(provider)  # type: ignore[arg-type]  # either is a TracerProvider
    return True
