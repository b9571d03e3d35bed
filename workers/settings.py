"""The worker's settings: a TOML file and `DURAGEN_*` variables, read once at the edge.

The file is `duragen.toml`, or what `DURAGEN_CONFIG` names. A variable wins over the file; groups
are joined by two underscores: `DURAGEN_PROVIDERS__OPENAI__API_KEY`. The Temporal connection is not
here: it comes from the standard `TEMPORAL_*` variables and profiles.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as VariableError

from contracts.events import HttpUrl
from contracts.generation import Route
from contracts.names import GENERATION_QUEUE, PROVIDER_QUEUE_PREFIX
from workers.setting_types import ApiKey, CaFile, Group, Origin, ProviderName, SigningSecret

DEFAULT_FILE = "duragen.toml"

_TABLES_OF_OTHERS = {"gateway"}
"""What other processes read from the same file."""


class SettingsError(Exception):
    """A setting is wrong or missing; the text names it and says what is expected."""


class ProviderSettings(Group):
    """One image service. `kind` is the protocol; the table's name is the provider's."""

    kind: Literal["openai", "flux", "kubernetes"]
    base_url: HttpUrl
    api_key: ApiKey = SecretStr("")
    """Of Kubernetes: a service account's token. Empty: it is in `token_file`."""
    submissions_per_second: Annotated[float, Field(gt=0)] | None = None
    """Held by the Temporal server over all workers; None is no limit."""
    max_in_flight: Annotated[int, Field(ge=1)] = 200
    """Calls, and jobs, that one worker has open at a time."""
    diffusion_fields: bool = False
    """Send negative_prompt, seed, num_inference_steps and guidance_scale: servers of one's own take
    them, OpenAI's refuses them."""
    poll_seconds: Annotated[float, Field(gt=0)] = 1.0
    job_hosts: tuple[str, ...] = ()
    """Hosts beside `base_url`'s own and its siblings to which the key may be sent for polling."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] = "default"
    token_file: FilePath | None = None
    """Read before each call: the token that a pod is given changes every hour."""
    ca_file: CaFile | None = None
    """Who signed the API server's certificate; None: somebody whom the system trusts."""
    ttl_seconds: Annotated[int, Field(ge=60)] = 3_600
    """How long a Job that has ended stays, with its pod's log."""

    @property
    def has_jobs(self) -> bool:
        """Whether it answers with jobs, which are collected on a queue of their own."""
        return self.kind != "openai"

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        key, file = self.api_key.get_secret_value(), self.token_file
        if self.kind == "kubernetes" and bool(key) == bool(file):
            raise ValueError("kind kubernetes needs api_key or token_file, and not both")
        if self.kind != "kubernetes" and not key:
            raise ValueError(f"api_key is missing: kind {self.kind} needs it")
        return self


class RouteSettings(Route):
    """A route as the file has it: what a later version may add is a misspelling here."""

    model_config = ConfigDict(extra="forbid")


class ModelSettings(Group):
    """A `modelId` of the wire: the routes to it, best first."""

    name: str = ""
    routes: Annotated[tuple[RouteSettings, ...], Field(min_length=1)]


class StorageSettings(Group):
    """Any S3 endpoint; None is AWS. Without keys, boto3's own credential chain is used."""

    bucket: str
    endpoint_url: HttpUrl | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    link_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3_600
    """Life of the link in an event; 7 days is S3's maximum."""


class OdooSettings(Group):
    """One Odoo: its origin is the allow list for `callbackUrl`; `delivery` says how it is told."""

    origin: Origin
    delivery: Literal["callback", "odoorpc"] = "callback"
    token: ApiKey | None = None
    """Bearer token of the callback."""
    signing_secret: SigningSecret | None = None
    """Standard Webhooks secret (`whsec_…`) that signs the callback."""
    url: HttpUrl | None = None
    """Where odoorpc connects; the origin when None."""
    database: str | None = None
    login: str | None = None
    password: SecretStr | None = None
    """A password or, better, an API key."""
    model: str = "duragen.generation.request"
    method: str = "apply_event"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.delivery == "odoorpc":
            missing = [n for n in ("database", "login", "password") if getattr(self, n) is None]
            if missing:
                raise ValueError(f"delivery by odoorpc needs {', '.join(missing)}")
        return self


class NotifySettings(Group):
    """The notification service; spec: error-handling.sequence, 8.4 and 9.4."""

    base_url: HttpUrl
    token: ApiKey | None = None


class AlertSettings(Group):
    """Alertmanager, its v2 API. Without the table, alerts about providers are in the log alone."""

    base_url: HttpUrl
    token: ApiKey | None = None
    """Bearer token, for an Alertmanager behind a proxy that asks for one."""
    web_url: HttpUrl | None = None
    """Temporal's Web UI: where an alert's "source" link leads."""


class GenerationSettings(Group):
    """Limits of one generation."""

    deadline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600


class ProcessSettings(Group):
    """The worker process. `queues`: `generation`, `provider.<name>`; empty is all of them."""

    queues: tuple[str, ...] = ()
    health_host: str = "127.0.0.1"
    health_port: Annotated[int, Field(ge=0, le=65_535)] = 8_089
    """0 takes a free port."""
    images_in_memory: Annotated[int, Field(ge=1)] = 4
    """Images being read, verified and stored at the same time; bounds the memory."""
    max_workflow_tasks: Annotated[int, Field(ge=2)] = 100
    max_cached_workflows: Annotated[int, Field(ge=0)] = 500
    graceful_seconds: Annotated[float, Field(ge=0)] = 30
    """How long running activities may finish after SIGTERM."""


class Settings(BaseSettings):
    """All of it, frozen. Read with `Settings.read()`: every fault in one clear text."""

    model_config = SettingsConfigDict(
        env_prefix="DURAGEN_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    storage: StorageSettings
    providers: dict[ProviderName, ProviderSettings] = {}
    models: dict[UUID, ModelSettings] = {}
    odoo: tuple[OdooSettings, ...] = ()
    notify: NotifySettings | None = None
    alerts: AlertSettings | None = None
    generation: GenerationSettings = GenerationSettings()
    worker: ProcessSettings = ProcessSettings()

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

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, tables: dict[str, Any]) -> dict[str, Any]:
        return {name: table for name, table in tables.items() if name not in _TABLES_OF_OTHERS}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for model_id, model in self.models.items():
            for route in model.routes:
                if route.provider not in self.providers:
                    raise ValueError(
                        f"models.{model_id}: provider {route.provider!r} is not among [providers]:"
                        f" {', '.join(self.providers) or 'none'}"
                    )
        for queue in self.worker.queues:
            if queue not in self._known_queues:
                raise ValueError(_unknown_queue(queue, self._known_queues))
        origins = [odoo.origin for odoo in self.odoo]
        if len(set(origins)) != len(origins):
            raise ValueError("odoo: two tables have the same origin")
        return self

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues this process works on."""
        return self.worker.queues or self._known_queues

    @property
    def _known_queues(self) -> tuple[str, ...]:
        return (GENERATION_QUEUE, *(PROVIDER_QUEUE_PREFIX + name for name in self.providers))

    def with_queues(self, queues: tuple[str, ...]) -> "Settings":
        """The same for other queues. Raises SettingsError for an unknown one."""
        for queue in queues:
            if queue not in self._known_queues:
                raise SettingsError(_unknown_queue(queue, self._known_queues))
        process = self.worker.model_copy(update={"queues": queues})
        return self.model_copy(update={"worker": process})

    @classmethod
    def read(cls) -> "Settings":
        """Settings from file and environment. Raises SettingsError, naming each faulty setting."""
        path = os.environ.get("DURAGEN_CONFIG")
        if path and not Path(path).is_file():
            raise SettingsError(f"DURAGEN_CONFIG names {path}, which is not a file")
        where = path or DEFAULT_FILE
        try:
            return cls()
        except ValidationError as error:
            faults = "\n".join(f"  {_setting(e['loc'])}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"wrong settings ({where} and DURAGEN_*):\n{faults}") from None
        except VariableError as error:
            raise SettingsError(
                f"cannot read a DURAGEN_* variable: {error}; a table or a list in a variable is"
                """ JSON, such as DURAGEN_WORKER__QUEUES='["generation"]'"""
            ) from None
        except (OSError, ValueError) as error:  # no right to read it, TOML that does not parse
            raise SettingsError(f"cannot read the settings ({where}): {error}") from None


def _unknown_queue(queue: str, known: tuple[str, ...]) -> str:
    return f"worker.queues: {queue!r} is not one of {', '.join(known)}"


def _setting(loc: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in loc) or "settings"
