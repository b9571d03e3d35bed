"""The gateway's settings: `[gateway]` and the callbacks of `[[odoo]]`; see `peers.settings`."""

import re
from ipaddress import ip_network
from itertools import combinations
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from contracts.callbacks import CALLBACK_PATHS, WEBHOOKS_PATH, plain_path
from contracts.events import HttpUrl, origin_of
from contracts.names import OWNER_PATTERN
from peers.setting_types import CallbackPaths, Group, Origin, Sha256, UrlPath
from peers.settings import FileSettings
from peers.store import StorageSettings
from starter.client import MAX_BODY_BYTES
from starter.gateway.developers.settings import DeveloperApi

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def _callback_prefix(text: str) -> str:
    return origin_of(text) + plain_path(urlsplit(text).path or "/")


class GatewayKey(Group):
    """Who may call: a name for the log, and the SHA-256 of a random bearer key.

    `duragen gateway --new-key` makes one.
    """

    name: str
    sha256: Sha256
    owner: str | None = None
    """Whose the generations are that it starts, and the only ones it sees; the name when None.
    Keys of one owner see the same. "": what is started with direct access to Temporal."""
    callbacks: tuple[Annotated[HttpUrl, AfterValidator(_callback_prefix)], ...] = ()
    """Where the outcomes of its generations may go, beside what `[[odoo]]` allows: an Odoo's
    origin, or one with the beginning of a path. Empty: wherever `[[odoo]]` allows; where keys have
    several owners, that is for `owner = ""` alone."""
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Of all kinds, in each gateway process; as many may come at once as in a second."""
    in_flight: Annotated[int, Field(ge=1)] | None = None
    """Generations of its owner that may be under way at a time, over all gateways."""
    starts_per_day: Annotated[int, Field(ge=1)] | None = None
    """Generations that its owner may start in a day of UTC, over all gateways."""

    @property
    def owner_name(self) -> str:
        """The owner; see `contracts.names.workflow_id`."""
        return self.name if self.owner is None else self.owner

    @property
    def callback_paths(self) -> dict[str, tuple[str, ...]]:
        """`callbacks` by origin, as `contracts.callbacks` reads them."""
        found: dict[str, tuple[str, ...]] = {}
        for prefix in self.callbacks:
            origin = origin_of(prefix)
            found[origin] = (*found.get(origin, ()), urlsplit(prefix).path)
        return found

    @model_validator(mode="after")
    def _has_owner(self) -> Self:
        if self.owner_name and not re.fullmatch(OWNER_PATTERN, self.owner_name):
            raise ValueError(
                f"key {self.name!r} needs an owner: up to 40 of a to z, 0 to 9, - and _, or a name"
                " that is written so, and does not begin with check-"
            )
        if not self.owner_name and (self.in_flight or self.starts_per_day):
            raise ValueError(f"key {self.name!r}: in_flight and starts_per_day need an owner")
        return self


def _common_place(one: GatewayKey, other: GatewayKey) -> str | None:
    """Where outcomes of both keys may go."""
    for mine in one.callbacks:
        for theirs in other.callbacks:
            shorter, longer = sorted((mine, theirs), key=len)
            if f"{longer}/".startswith(f"{shorter.rstrip('/')}/"):
                return longer
    return None


class GatewayProcess(Group):
    """The HTTP server. `public_url` is what links start with; without it they are relative."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_090
    """0 takes a free port."""
    keys: Annotated[tuple[GatewayKey, ...], Field(min_length=1)]
    max_body_bytes: Annotated[int, Field(ge=1_024)] = MAX_BODY_BYTES
    public_url: HttpUrl | None = None
    health_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """For the platform: `/health/ready` on this port alone, `/health` here as well. None: no such
    port, and both are on the main one."""
    health_host: str | None = None
    """None: `host`."""
    max_connections: Annotated[int, Field(ge=16)] = 2_000
    """In all; fewer where the process may open fewer files."""
    max_connections_per_address: Annotated[int, Field(ge=1)] = 200
    """Not for `proxies`: all callers behind one share its address."""
    proxies: tuple[IPvAnyNetwork, ...] = LOOPBACK
    """Addresses or networks of reverse proxies in front of the gateway."""
    header_seconds: Annotated[float, Field(gt=0, le=300)] = 10
    """From an accepted connection to the end of the first request's headers."""
    idle_seconds: Annotated[float, Field(gt=0, le=3_600)] = 75
    """From an answer to the next request's headers; more than a proxy keeps its own connections,
    or it meets closed ones. nginx and AWS keep them for 60 s."""
    docs: bool = True
    """Serve `/docs` and `/openapi.json`."""

    @field_validator("keys")
    @classmethod
    def _are_apart(cls, keys: tuple[GatewayKey, ...]) -> tuple[GatewayKey, ...]:
        """A key is one caller's, and an Odoo gets outcomes of one owner alone.

        They are signed with the Odoo's secrets, and requestIds are each owner's own: the Odoo could
        not know that an outcome is not of its own request.
        """
        several = len({key.owner_name for key in keys}) > 1
        for key in keys:
            if several and key.owner_name and not key.callbacks:
                raise ValueError(
                    f"key {key.name!r} needs callbacks, for there are keys of several owners: name"
                    ' where its outcomes go, such as callbacks = ["https://odoo.example.com"]'
                )
        for one, other in combinations(keys, 2):
            names = f"{one.name!r} and {other.name!r}"
            if one.sha256 == other.sha256:
                raise ValueError(
                    f"keys {names} have the same sha256: make another one with"
                    " `duragen gateway --new-key`"
                )
            place = _common_place(one, other)
            if place and one.owner_name != other.owner_name:
                raise ValueError(
                    f"keys {names} have different owners, and may both have outcomes sent to"
                    f" {place}: let their callbacks name different Odoos, or give both one owner"
                )
        return keys


class AllowedOdoo(Group):
    """One Odoo; the gateway needs to know where outcomes may go, the rest is the worker's."""

    model_config = ConfigDict(extra="ignore")

    origin: Origin
    callback_paths: CallbackPaths = CALLBACK_PATHS
    webhooks_path: UrlPath = WEBHOOKS_PATH


class GatewaySettings(FileSettings):
    """All of it, frozen. Read with `GatewaySettings.read()`."""

    model_config = SettingsConfigDict(extra="ignore")

    gateway: GatewayProcess
    storage: StorageSettings | None = None
    """For links to images; the rest of what a gateway does needs no store."""
    developers: DeveloperApi | None = None
    """For `/v1/generate`; without it there is no such path."""
    odoo: tuple[AllowedOdoo, ...] = ()

    @property
    def callbacks(self) -> dict[str, tuple[str, ...]]:
        """Where a `callbackUrl` may lead: the path prefixes of each origin."""
        return {odoo.origin: odoo.callback_paths for odoo in self.odoo}
