"""The one way to connect to Temporal, from the standard `TEMPORAL_*` variables and profiles.

`starter/client.py` is one self-contained file and connects by itself, from the same variables.
"""

import dataclasses
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression

from peers.encryption import EncryptionError, RefusingEncrypted, keyring, with_keys
from peers.loopback import is_loopback
from peers.settings import SettingsError

DEFAULT_ADDRESS = "localhost:7233"


async def connect(**more: Any) -> Client:
    """A client that speaks our models; `more` are further options of `Client.connect`.

    Raises RuntimeError when the server cannot be reached, SettingsError for a wrong `TEMPORAL_*` or
    encryption key.
    """
    config = _loaded()
    converter = data_converter()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    if is_loopback(config["target_host"]):
        # Compressing costs both sides more than it saves where there is no network.
        more.setdefault("grpc_compression", GrpcCompression.NONE)
    try:
        return await Client.connect(**config, data_converter=converter, **more)
    except ValueError as error:  # such as an address that is none
        raise SettingsError(f"wrong TEMPORAL_* variables or profile: {error}") from None


class _ModelConverter(RefusingEncrypted, PydanticPayloadConverter):
    """Our models as JSON."""


def data_converter() -> DataConverter:
    """How values become payloads: our models as JSON, encrypted when there are keys.

    Raises SettingsError for a wrong key.
    """
    converter = dataclasses.replace(
        pydantic_data_converter, payload_converter_class=_ModelConverter
    )
    try:
        return with_keys(converter, keyring())
    except EncryptionError as error:
        raise SettingsError(str(error)) from None


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
