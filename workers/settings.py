"""The worker's settings, from the file and the variables of `peers.settings`."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from activities.images import FORMATS, MAX_IMAGE_BYTES
from activities.providers.kind import LinkSettings
from activities.providers.registry import Provider, kind_of
from contracts.callbacks import CALLBACK_PATHS, WEBHOOKS_PATH
from contracts.events import HttpUrl, origin_of
from contracts.generation import Route
from contracts.names import GENERATION_QUEUE, PROVIDER_QUEUE_PREFIX, provider_queue
from peers.own_headers import HeaderTable, OwnHeaders
from peers.proxies import environment_proxies
from peers.rabbitmq import RabbitTable
from peers.setting_types import (
    ApiKey,
    CaFile,
    CallbackPaths,
    Group,
    Origin,
    OwnCertificate,
    ProviderName,
    SigningSecret,
    UrlPath,
)
from peers.settings import FileSettings, SettingsError
from peers.store import StorageSettings
from workflows.options import STORE_ALLOWANCE

_TABLES_OF_OTHERS = {"gateway", "developers", "codec"}
"""What other processes read from the same file."""


LEAST_GRACE_SECONDS = 30.0
"""For activities that pay for nothing."""


def _spool_dir() -> Path:
    """`duragen/spool` in the user's folder for state (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "duragen" / "spool"


class RouteSettings(Route):
    """A route as the file has it: what a later version may add is a misspelling here."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("parameters")
    @classmethod
    def _known_format(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        asked = parameters.get("output_format", "png")
        if asked not in FORMATS:
            raise ValueError(f"output_format {asked!r} is not one of {', '.join(FORMATS)}")
        return parameters


class ModelSettings(Group):
    """A `modelId` of the wire: the routes to it, best first."""

    name: str = ""
    routes: Annotated[tuple[RouteSettings, ...], Field(min_length=1)]


class OdooSettings(Group):
    """One Odoo: origin and paths allow a `callbackUrl`; `delivery` says how it gets the outcome."""

    origin: Origin
    callback_paths: CallbackPaths = CALLBACK_PATHS
    webhooks_path: UrlPath = WEBHOOKS_PATH
    """Where it has webhooks to API users, for us to send."""
    delivery: Literal["callback", "odoorpc", "rabbitmq"] = "callback"
    token: ApiKey | None = None
    """Bearer token of the callback."""
    previous_token: ApiKey | None = None
    """While tokens change: sent to an Odoo that answers 401 to `token`."""
    signing_secret: SigningSecret | None = None
    """Standard Webhooks secret (`whsec_…`) that signs the callback."""
    previous_signing_secret: SigningSecret | None = None
    """While secrets change: signs too."""
    url: HttpUrl | None = None
    """Where odoorpc connects; the origin when None."""
    database: str | None = None
    login: str | None = None
    password: SecretStr | None = None
    """A password or, better, an API key."""
    model: str = "duragen.generation.request"
    method: str = "apply_event"
    max_in_flight: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Deliveries at a time, a process: an Odoo that hangs holds so many up, and no other's."""
    deliveries_per_second: Annotated[float, Field(gt=0, le=10_000)] = 100
    """Over all processes; held by the server."""
    ca_file: CaFile | None = None
    """Who signed its certificate; None: somebody whom the process trusts (SSL_CERT_FILE)."""
    images: Literal["link", "data"] = "link"
    """What an outcome carries: a link to the image, or the image itself, as base64."""
    headers: HeaderTable = Field(default_factory=dict)
    """Sent with every callback, such as a key for the proxy before this Odoo."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.delivery == "odoorpc":
            missing = [n for n in ("database", "login", "password") if getattr(self, n) is None]
            if missing:
                raise ValueError(f"delivery by odoorpc needs {', '.join(missing)}")
        if self.delivery != "callback" and self.headers:
            raise ValueError(f"delivery by {self.delivery} sends no headers: remove `headers`")
        if self.delivery == "rabbitmq" and self.images == "data":
            raise ValueError('delivery by rabbitmq carries no images: remove images = "data"')
        if self.previous_token and not self.token:
            raise ValueError("previous_token needs token, the one that follows it")
        if self.previous_signing_secret and not self.signing_secret:
            raise ValueError("previous_signing_secret needs signing_secret, which follows it")
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """The bearer tokens in force, the newest first."""
        return _texts(self.token, self.previous_token)

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """The signing secrets in force, the newest first."""
        return _texts(self.signing_secret, self.previous_signing_secret)


def _texts(*secrets: SecretStr | None) -> tuple[str, ...]:
    return tuple(secret.get_secret_value() for secret in secrets if secret)


class NotifySettings(Group):
    """The notification service; spec: error-handling.sequence, 8.4 and 9.4."""

    base_url: HttpUrl
    token: ApiKey | None = None
    headers: HeaderTable = Field(default_factory=dict)
    """Sent with every call, such as a key for the proxy before it."""
    ca_file: CaFile | None = None
    """Who signed its certificate; None: somebody whom the process trusts (SSL_CERT_FILE)."""


class AlertSettings(Group):
    """Alertmanager, its v2 API. Without the table, alerts about providers are in the log alone."""

    base_url: HttpUrl
    token: ApiKey | None = None
    """Bearer token, for an Alertmanager behind a proxy that asks for one."""
    ca_file: CaFile | None = None
    """Who signed its certificate; None: somebody whom the process trusts (SSL_CERT_FILE)."""
    web_url: HttpUrl | None = None
    """Temporal's Web UI: where an alert's "source" link leads."""
    headers: HeaderTable = Field(default_factory=dict)
    """Sent with every call: Mimir's `X-Scope-OrgID`, or `Authorization` of another kind."""


class GenerationSettings(Group):
    """Limits of one generation."""

    deadline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600
    try_parked_seconds: Annotated[float, Field(gt=0)] | None = None
    """An outcome that has been parked for so long is tried on request alone; None: it always is."""


class WebhookSettings(Group):
    """Webhooks to API users."""

    max_in_flight: Annotated[int, Field(ge=10, le=10_000)] = 100
    """Attempts at a time, a process."""
    private: tuple[Origin, ...] = ()
    """Receivers that may be at addresses which are not public: of your own network."""


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
    sandbox: bool = False
    """Run workflows in the SDK's sandbox, which finds what is not deterministic, for a price."""
    graceful_seconds: Annotated[float, Field(ge=0)] | None = None
    """How long running activities may finish after SIGTERM; None: `Settings.grace_seconds`."""
    spool_dir: Path = Field(default_factory=_spool_dir)
    """Where images that are paid for wait while the store is away. It must outlive the process."""
    spool_bytes: Annotated[int, Field(ge=MAX_IMAGE_BYTES)] = 2 * 1024**3
    """Nothing is paid for any more once the images there have so many bytes, less one image."""
    client_certificate: OwnCertificate | None = None
    """Who we are to an Odoo that asks for a certificate (mutual TLS): PEM, with its key."""
    use_proxies: bool = False
    """Call providers, Odoos, the store and the rest through the environment's proxies."""

    @field_validator("use_proxies")
    @classmethod
    def _usable(cls, wanted: bool) -> bool:  # pydantic's own
        if wanted:
            environment_proxies()  # raises
        return wanted


class Settings(FileSettings):
    """All of it, frozen. Read with `Settings.read()`: every fault in one clear text."""

    storage: StorageSettings
    providers: dict[ProviderName, Provider] = Field(default_factory=dict)
    models: dict[UUID, ModelSettings] = Field(default_factory=dict)
    odoo: tuple[OdooSettings, ...] = ()
    notify: NotifySettings | None = None
    rabbitmq: RabbitTable | None = None
    alerts: AlertSettings | None = None
    generation: GenerationSettings = GenerationSettings()
    webhooks: WebhookSettings = WebhookSettings()
    worker: ProcessSettings = ProcessSettings()

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
                try:
                    kind_of(self.providers[route.provider]).check_route(route)
                except ValueError as error:
                    raise ValueError(f"models.{model_id}: {error}") from None
        for queue in self.worker.queues:
            if queue not in self._known_queues:
                raise ValueError(_unknown_queue(queue, self._known_queues))
        origins = [odoo.origin for odoo in self.odoo]
        if len(set(origins)) != len(origins):
            raise ValueError("odoo: two tables have the same origin")
        by_broker = [odoo.origin for odoo in self.odoo if odoo.delivery == "rabbitmq"]
        if by_broker and (self.rabbitmq is None or self.rabbitmq.gateway_url is None):
            raise ValueError(
                f"odoo {by_broker[0]}: delivery by rabbitmq needs rabbitmq.gateway_url"
            )
        _ = self.own_headers  # raises
        return self

    @property
    def published(self) -> frozenset[str]:
        """The Odoos whose outcomes are published beside their delivery."""
        if self.rabbitmq is None or not self.rabbitmq.publish_outcomes:
            return frozenset()
        return frozenset(odoo.origin for odoo in self.odoo if odoo.delivery != "rabbitmq")

    @property
    def own_headers(self) -> OwnHeaders:
        """What operators want sent to whom beside what we send."""
        peers = (self.notify, self.alerts, *self.providers.values())
        # A kind of provider that calls by a library of its own has none.
        found = [(peer.base_url, getattr(peer, "headers", {})) for peer in peers if peer]
        return OwnHeaders([*found, *((odoo.origin, odoo.headers) for odoo in self.odoo)])

    @property
    def models_by_provider(self) -> dict[str, set[str]]:
        """What the routes call their models, by provider."""
        named: dict[str, set[str]] = {}
        for model in self.models.values():
            for route in model.routes:
                named.setdefault(route.provider, set()).add(route.model)
        return named

    @property
    def ca_files(self) -> dict[str, Path]:
        """Whose certificates count at an origin, where a setting says so."""
        named = [
            (each.base_url, each.ca_file)
            for each in (*self.providers.values(), self.notify, self.alerts)
            if isinstance(each, LinkSettings | NotifySettings | AlertSettings)
        ]
        named += [(odoo.origin, odoo.ca_file) for odoo in self.odoo]
        named += [(odoo.url, odoo.ca_file) for odoo in self.odoo if odoo.url]
        return {origin_of(url): file for url, file in named if file}

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues this process works on."""
        return self.worker.queues or self._known_queues

    @property
    def grace_seconds(self) -> float:
        """How long a worker that leaves may need: until then no call that it has paid for is cut.

        The longest call that its routes allow, and the time to store the image. A worker without
        providers delivers and notifies: what is cut off there is harmless, and done again.
        """
        if self.worker.graceful_seconds is not None:
            return self.worker.graceful_seconds
        return max(self.longest_call_seconds, LEAST_GRACE_SECONDS)

    @property
    def longest_call_seconds(self) -> float:
        """The longest time that a paid call of this process may take, with storing its image."""
        calls = [
            route.timeout_seconds + STORE_ALLOWANCE.total_seconds()
            for model in self.models.values()
            for route in model.routes
            if provider_queue(route.provider) in self.queues
            and not kind_of(self.providers[route.provider]).timeout_is_the_jobs
        ]
        return max(calls, default=0.0)

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


def _unknown_queue(queue: str, known: tuple[str, ...]) -> str:
    return f"worker.queues: {queue!r} is not one of {', '.join(known)}"
