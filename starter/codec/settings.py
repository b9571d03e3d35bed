"""The codec server's settings: `[codec]`; see `peers.settings`. Its keys are variables."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from peers.setting_types import Group, Origin, Sha256
from peers.settings import FileSettings

MAX_BODY_BYTES = 4 * 1024**2
"""A payload has up to 2 MB in Temporal; base64 makes a third more of it, encryption little."""


class CodecKey(Group):
    """Who may ask: a name for the log, and the SHA-256 of a random key.

    `duragen codec --new-key` makes one.
    """

    name: str
    sha256: Sha256


class CodecProcess(Group):
    """The HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_094
    """0 takes a free port."""
    keys: Annotated[tuple[CodecKey, ...], Field(min_length=1)]
    origins: tuple[Origin, ...] = ()
    """Origins of Web UIs whose pages may ask (CORS)."""
    encode: bool = False
    """Also encrypt, for what is sent with the Web UI and the `temporal` command."""
    max_body_bytes: Annotated[int, Field(ge=1_024)] = MAX_BODY_BYTES


class CodecSettings(FileSettings):
    """All of it, frozen. Read with `CodecSettings.read()`."""

    model_config = SettingsConfigDict(extra="ignore")

    codec: CodecProcess
