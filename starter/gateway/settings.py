"""The gateway's settings: `[gateway]` and the callbacks of `[[odoo]]`; see `peers.settings`."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from contracts.callbacks import CALLBACK_PATHS
from contracts.events import HttpUrl
from peers.setting_types import CallbackPaths, Group, Origin
from peers.settings import FileSettings
from starter.client import MAX_BODY_BYTES


def _hex(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise ValueError("must be a SHA-256 in hexadecimal, 64 characters")
    return text.lower()


class GatewayKey(Group):
    """Who may call: a name for the log, and the SHA-256 of a random bearer key.

    `duragen gateway --new-key` makes one.
    """

    name: str
    sha256: Annotated[str, AfterValidator(_hex)]


class GatewayProcess(Group):
    """The HTTP server. `public_url` is what links start with; without it they are relative."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_090
    """0 takes a free port."""
    keys: Annotated[tuple[GatewayKey, ...], Field(min_length=1)]
    max_body_bytes: Annotated[int, Field(ge=1_024)] = MAX_BODY_BYTES
    public_url: HttpUrl | None = None


class AllowedOdoo(Group):
    """One Odoo; the gateway needs to know where outcomes may go, the rest is the worker's."""

    model_config = ConfigDict(extra="ignore")

    origin: Origin
    callback_paths: CallbackPaths = CALLBACK_PATHS


class GatewaySettings(FileSettings):
    """All of it, frozen. Read with `GatewaySettings.read()`."""

    model_config = SettingsConfigDict(extra="ignore")

    gateway: GatewayProcess
    odoo: tuple[AllowedOdoo, ...] = ()

    @property
    def callbacks(self) -> dict[str, tuple[str, ...]]:
        """Where a `callbackUrl` may lead: the path prefixes of each origin."""
        return {odoo.origin: odoo.callback_paths for odoo in self.odoo}
