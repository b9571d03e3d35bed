"""The connection to Temporal, from the standard `TEMPORAL_*` variables and profiles."""

import logging
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig

from workers.settings import SettingsError

DEFAULT_ADDRESS = "localhost:7233"


async def connect() -> Client:
    """A client that speaks our models.

    Raises RuntimeError when the server cannot be reached, SettingsError for a wrong `TEMPORAL_*`.
    """
    return await Client.connect(**_options())


async def connect_worker(runtime: Runtime, *, traced: bool) -> Client:
    """As `connect`, for a worker; raises RPCError also when the namespace is not there (yet)."""
    plugins = [OpenTelemetryPlugin(add_temporal_spans=True)] if traced else []
    client = await Client.connect(**_options(), plugins=plugins, runtime=runtime)
    # A worker would find out by itself, and die of it.
    await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    return client


def logging_runtime() -> Runtime:
    """The SDK's native part, logging through Python: its own lines on stderr would not be JSON."""
    logger = logging.getLogger("temporalio.core")
    logger.addFilter(_without_native_entry)
    forwarding = LogForwardingConfig(
        logger, append_target_to_name=False, prepend_target_on_message=False
    )
    log = LoggingConfig(filter=LoggingConfig.default.filter, forwarding=forwarding)
    return Runtime(telemetry=TelemetryConfig(logging=log))


def _without_native_entry(record: logging.LogRecord) -> bool:
    vars(record).pop("temporal_log", None)  # all of it is in the message
    return True


def target() -> str:
    """`address (namespace ...)`: what the configuration points at, for messages."""
    config = _loaded()
    address = config.get("target_host", DEFAULT_ADDRESS)
    return f"{address} (namespace {config.get('namespace', 'default')})"


def _loaded() -> dict[str, Any]:
    try:
        return dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, OSError) as error:  # an unknown profile, bad TOML, a missing certificate
        raise SettingsError(f"wrong TEMPORAL_* variables or profile: {error}") from None


def _options() -> dict[str, Any]:
    config = _loaded()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return {**config, "data_converter": pydantic_data_converter}
