"""`[developers]`: the Odoo whose API users the gateway serves."""

from typing import Annotated

from pydantic import Field

from peers.setting_types import ApiKey, CaFile, Group, Origin, OwnerName


class DeveloperApi(Group):
    """The Odoo, and the gateway's own user there, of the group "Duragen: Gateway" and no other."""

    url: Origin
    database: str
    login: str
    password: ApiKey
    """The user's password, or better an API key of his."""
    owner: OwnerName = ""
    """Whose the generations are that this Odoo starts: the owner of its key of the gateway, "" for
    one that goes straight to Temporal."""
    calls: Annotated[int, Field(ge=1, le=1_000)] = 16
    """At a time; more than Odoo has threads or workers for only wait there."""
    waits: Annotated[int, Field(ge=0, le=100_000)] = 500
    """Requests that may wait for their image at a time (`Prefer: wait`); the others get 202."""
    ca_file: CaFile | None = None
    """Who signed its certificate; None: somebody whom the process trusts."""
    use_proxies: bool = False
    """Those of the environment."""
