"""The one settings loader: a TOML file and `DURAGEN_*` variables, read once at the start.

The file is `duragen.toml`, or what `DURAGEN_CONFIG` names. Worker and gateway share it. A variable
wins over the file; two underscores lead into a table: `DURAGEN_PROVIDERS__OPENAI__API_KEY`. The
connection to Temporal is not here: it has the standard `TEMPORAL_*` variables (`peers.temporal`).
"""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as VariableError

from contracts.plain import one_line

DEFAULT_FILE = "duragen.toml"

EXIT_SETTINGS = 2
"""The exit code of every process that refuses its settings."""


class SettingsError(Exception):
    """A setting is wrong or missing; the text names it and says what is expected."""


class FileSettings(BaseSettings):
    """The settings of one process, frozen. Read them with `read()`."""

    model_config = SettingsConfigDict(
        env_prefix="DURAGEN_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

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

    @classmethod
    def read(cls) -> Self:
        """Settings from file and environment. Raises SettingsError, naming each faulty setting."""
        path = os.environ.get("DURAGEN_CONFIG")
        if path and not Path(path).is_file():
            raise SettingsError(f"DURAGEN_CONFIG names {path}, which is not a file")
        where = path or DEFAULT_FILE
        try:
            return cls()
        except ValidationError as error:
            faults = "\n".join(
                f"  {one_line(_name(fault['loc']))}: {one_line(_said(fault['type'], fault['msg']))}"
                for fault in error.errors()
            )
            raise SettingsError(f"wrong settings ({where} and DURAGEN_*):\n{faults}") from None
        except VariableError as error:
            raise SettingsError(
                f"cannot read a DURAGEN_* variable: {one_line(error)}; a table or a list in a"
                """ variable is JSON, such as DURAGEN_WORKER__QUEUES='["generation"]'"""
            ) from None
        except (OSError, ValueError) as error:  # no right to read it, TOML that does not parse
            raise SettingsError(f"cannot read the settings ({where}): {one_line(error)}") from None


def _said(kind: str, message: str) -> str:
    return "is missing; docs/settings.md says what it is" if kind == "missing" else message


def _name(loc: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in loc) or "settings"
