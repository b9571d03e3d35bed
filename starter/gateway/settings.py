"""The gateway's settings: `[gateway]` and the origins of `[[odoo]]`; see `peers.settings`."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, IPvAnyNetwork
from pydantic_settings import SettingsConfigDict

from contracts.events import HttpUrl
from peers.setting_types import Group, Origin
from peers.settings import FileSettings
from starter.client import MAX_BODY_BYTES

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


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
    health_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """`/health` and `/health/ready` on a port of their own as well, for the platform; None: not."""
    health_host: str | None = None
    """None: `host`."""
    max_connections: Annotated[int, Field(ge=16)] = 2_000
    """In all; fewer where the process may open fewer files."""
    max_connections_per_address: Annotated[int, Field(ge=1)] = 200
    """Not for `proxies`: all callers behind one share its address."""
    proxies: tuple[IPvAnyNetwork, ...] = LOOPBACK
    """Addresses or networks of reverse proxies in front of the gateway."""
    header_seconds: Annotated[float, Field(gt=0, le=300)] = 10
    """From an accepted connection to the end of the request's headers."""
    idle_seconds: Annotated[float, Field(gt=0, le=3_600)] = 75
    """Between two requests of a connection; more than a proxy keeps its own, or it meets closed
    ones. nginx and AWS keep them for 60 s."""
    docs: bool = True
    """Serve `/docs` and `/openapi.json`."""


class AllowedOdoo(Group):
    """One Odoo; the gateway needs its origin alone, the rest is the worker's."""

    model_config = ConfigDict(extra="ignore")

    origin: Origin


class GatewaySettings(FileSettings):
    """All of it, frozen. Read with `GatewaySettings.read()`."""

    model_config = SettingsConfigDict(extra="ignore")

    gateway: GatewayProcess
    odoo: tuple[AllowedOdoo, ...] = ()

    @property
    def callback_origins(self) -> frozenset[str]:
        """The origins a `callbackUrl` may have."""
        return frozenset(odoo.origin for odoo in self.odoo)
