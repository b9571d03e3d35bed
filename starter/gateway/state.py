"""What all requests of the gateway share."""

from typing import cast
from uuid import UUID

from fastapi import Request

from starter.client import AsyncDuragenClient
from starter.gateway.callers import Callers
from starter.gateway.connection import Connections
from starter.gateway.images import ImageLinks
from starter.gateway.readiness import Readiness
from starter.gateway.settings import GatewaySettings
from starter.request_body import BodyRoom
from starter.start import EntryPoint


class GatewayState:
    """What all requests share: the settings and the one connection to Temporal."""

    def __init__(self, settings: GatewaySettings, client: AsyncDuragenClient) -> None:
        self.settings = settings.gateway
        self.client = client
        self.readiness = Readiness(client.ping)
        self.room = BodyRoom()
        self.callers = Callers(settings.gateway.keys, client)
        self.entry_point = EntryPoint(client, settings.callbacks)
        self.images = ImageLinks(settings.storage, client)
        self.connections = Connections(client, settings.callbacks)
        self.webhook_sources = {odoo.origin: (odoo.webhooks_path,) for odoo in settings.odoo}

    def status_url(self, request_id: UUID) -> str:
        """The link to a generation's status."""
        return f"{(self.settings.public_url or '').rstrip('/')}/v1/generations/{request_id}"


def state_of(request: Request) -> GatewayState:
    """That of the application that answers this request."""
    return cast("GatewayState", request.app.state.gateway)
