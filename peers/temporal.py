"""The one way to connect to Temporal, from the standard `TEMPORAL_*` variables and profiles.

`starter/client.py` is one self-contained file and connects by itself, from the same variables.
"""

from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression

from peers.loopback import is_loopback
from peers.settings import SettingsError

DEFAULT_ADDRESS = "localhost:7233"


async def connect(**more: Any) -> Client:
    """A client that speaks our models; `more` are further options of `Client.connect`.

    Raises RuntimeError when the server cannot be reached, SettingsError for a wrong `TEMPORAL_*`.
    """
    config = _loaded()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    if is_loopback(config["target_host"]):
        # Compressing costs both sides more than it saves where there is no network.
        more.setdefault("grpc_compression", GrpcCompression.NONE)
    try:
        return await Client.connect(**config, data_converter=pydantic_data_converter, **more)
    except ValueError as error:  # such as an address that is none
        raise SettingsError(f"wrong TEMPORAL_* variables or profile: {error}") from None


def target() -> str:
    """`address (namespace ...)`: what the configuration points at, for messages."""
    config = _loaded()
    address = config.get("target_host", DEFAULT_ADDRESS)
    return f"{address} (namespace {config.get('namespace', 'default')})"


def _loaded() -> dict[str, Any]:
    try:
        return dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, ValueError, OSError) as error:
        # An unknown profile, TOML that does not parse, a certificate that is missing.
        raise SettingsError(f"wrong TEMPORAL_* variables or profile: {error}") from None
