"""The gateway's settings: `[gateway]` and the origins of `[[odoo]]` in the worker's own file.

The file is `duragen.toml`, or what `DURAGEN_CONFIG` names. A variable wins over the file:
`DURAGEN_GATEWAY__PORT`. The Temporal connection comes from the standard `TEMPORAL_*` variables.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contracts.events import HttpUrl, origin_of
from starter.client import MAX_BODY_BYTES

DEFAULT_FILE = "duragen.toml"


class GatewaySettingsError(Exception):
    """A setting is wrong or missing; the text names it and says what is expected."""

    exit_code = 2


def _origin(text: str) -> str:
    if origin_of(text) != text.rstrip("/").lower():
        raise ValueError("must be scheme://host[:port] without a path")
    return origin_of(text)


def _hex(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise ValueError("must be a SHA-256 in hexadecimal, 64 characters")
    return text.lower()


class GatewayKey(BaseModel):
    """Who may call: a name for the log, and the SHA-256 of a random bearer key.

    `duragen gateway --new-key` makes one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: Annotated[str, AfterValidator(_hex)]


class GatewayProcess(BaseModel):
    """The HTTP server. `public_url` is what links start with; without it they are relative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_090
    """0 takes a free port."""
    keys: Annotated[tuple[GatewayKey, ...], Field(min_length=1)]
    max_body_bytes: Annotated[int, Field(ge=1_024)] = MAX_BODY_BYTES
    public_url: HttpUrl | None = None


class AllowedOdoo(BaseModel):
    """One Odoo; the gateway needs its origin alone, the rest is the worker's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    origin: Annotated[HttpUrl, AfterValidator(_origin)]


class GatewaySettings(BaseSettings):
    """All of it, frozen. Read with `GatewaySettings.read()`."""

    model_config = SettingsConfigDict(
        env_prefix="DURAGEN_", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    gateway: GatewayProcess
    odoo: tuple[AllowedOdoo, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the base class names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file."""
        file = TomlConfigSettingsSource(
            settings_cls, os.environ.get("DURAGEN_CONFIG", DEFAULT_FILE)
        )
        return init_settings, env_settings, file

    @property
    def callback_origins(self) -> frozenset[str]:
        """The origins a `callbackUrl` may have."""
        return frozenset(odoo.origin for odoo in self.odoo)

    @classmethod
    def read(cls) -> "GatewaySettings":
        """Settings from file and environment; GatewaySettingsError names each faulty one."""
        path = os.environ.get("DURAGEN_CONFIG")
        if path and not Path(path).is_file():
            raise GatewaySettingsError(f"DURAGEN_CONFIG names {path}, which is not a file")
        where = path or DEFAULT_FILE
        try:
            return cls()
        except ValidationError as error:
            faults = "\n".join(
                f"  {'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}"
                for e in error.errors()
            )
            text = f"wrong settings ({where} and DURAGEN_*):\n{faults}"
            raise GatewaySettingsError(text) from None
        except ValueError as error:  # TOML that does not parse, JSON in a variable that does not
            raise GatewaySettingsError(f"cannot read the settings ({where}): {error}") from None
