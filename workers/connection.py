"""The connection to Temporal, from the standard `TEMPORAL_*` variables and profiles."""

from typing import Any

from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig

from otel.setup import configure

DEFAULT_ADDRESS = "localhost:7233"


async def connect() -> Client:
    """A client that speaks our models. Raises RuntimeError when the server cannot be reached."""
    return await Client.connect(**await _options())


async def connect_traced(service_name: str) -> tuple[Client, bool]:
    """As `connect`, with tracing when the `OTEL_*` variables ask for it; tells whether they do."""
    traced = configure(service_name, create_tracer_provider)
    plugins = [OpenTelemetryPlugin(add_temporal_spans=True)] if traced else []
    return await Client.connect(**await _options(), plugins=plugins), traced


def target() -> str:
    """`address (namespace ...)`: what the configuration points at, for messages."""
    config = ClientConfig.load_client_connect_config()
    address = config.get("target_host", DEFAULT_ADDRESS)
    return f"{address} (namespace {config.get('namespace', 'default')})"


async def _options() -> dict[str, Any]:
    config: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return {**config, "data_converter": pydantic_data_converter}
