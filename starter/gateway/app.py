"""The FastAPI application, put together from its siblings."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from peers.clients import named_client
from starter.client import AsyncDuragenClient
from starter.gateway import problems
from starter.gateway.calls_log import CallsLog
from starter.gateway.developers.callers import Developers
from starter.gateway.developers.desk import Desk
from starter.gateway.developers.refusals import Refusals
from starter.gateway.developers.routes import developers_api
from starter.gateway.developers.settings import DeveloperApi
from starter.gateway.developers.waiting import Waiting
from starter.gateway.developers.webhooks import webhooks_api
from starter.gateway.generations import generations
from starter.gateway.models import Health
from starter.gateway.paths import OneSpelling
from starter.gateway.problems import documented
from starter.gateway.settings import GatewaySettings
from starter.gateway.state import GatewayState, state_of
from starter.private_answers import PrivateAnswers
from starter.request_body import BodyRoom

TEMPORAL_SECONDS = 2.0
"""How long a request waits for Temporal before it is a 503; the caller sends it again."""

_NO_VALIDATOR = {"validatorUrl": None}
"""Swagger UI would have the document's address looked at by a service of its makers."""

_TELEMETRY = TelemetryConfig(auto_configure=False)
"""FASTAPI_OTEL_AUTO_CONFIGURE would add an exporter of FastAPI's own, past otel/setup.py."""

health = APIRouter(tags=["health"])
readiness = APIRouter(tags=["health"])


@health.get("/health", summary="The process lives")
async def live() -> Health:
    """200 as long as the process answers."""
    return Health(status="live")


@readiness.get("/health/ready", responses=documented(503), summary="Requests can be taken")
async def ready(request: Request) -> Health:
    """200 when Temporal answers and has the namespace; asked once a second at most."""
    await state_of(request).readiness.check()
    return Health(status="ready")


def impatient_client(address: str | None = None) -> AsyncDuragenClient:
    """One attempt, bounded: the caller retries, for it knows how long it may wait."""
    return AsyncDuragenClient(address, timeout=TEMPORAL_SECONDS, retry_seconds=())


def create_app(settings: GatewaySettings, client: AsyncDuragenClient | None = None) -> FastAPI:
    """The application. It starts without Temporal, and recovers by itself when Temporal comes."""
    about: dict[str, Any] = {
        "title": "Duragen",
        "version": "1",
        "description": "Starts AI image generations, says where they stand, cancels them."
        " Errors are RFC 9457 problem documents.",
        "redirect_slashes": False,
        "telemetry": _TELEMETRY,
    }
    # The page's scripts come from us: FastAPI's own page loads them from a CDN.
    app = (
        FastAPIOffline(redoc_url=None, swagger_ui_parameters=_NO_VALIDATOR, **about)
        if settings.gateway.docs
        else FastAPI(openapi_url=None, **about)
    )
    app.add_middleware(CallsLog)
    app.add_middleware(OneSpelling)
    app.add_middleware(PrivateAnswers)
    app.state.gateway = GatewayState(settings, client or impatient_client())
    problems.install(app)
    app.include_router(generations)
    if settings.developers:
        app.state.developers = _developers(settings.developers, app.state.gateway)
        app.include_router(developers_api)
        app.include_router(webhooks_api)
    app.include_router(health)
    if settings.gateway.health_port is None:
        app.include_router(readiness)
    return app


def _developers(settings: DeveloperApi, state: GatewayState) -> Developers:
    ca_files = {settings.url: settings.ca_file} if settings.ca_file else {}
    client = named_client(ca_files, use_proxies=settings.use_proxies)
    return Developers(
        desk=Desk(settings, client),
        waiting=Waiting(state.client, settings.owner, settings.waits),
        refusals=Refusals(),
        room=BodyRoom(),  # strangers fill it: their keys are looked at after their bodies
        public_url=(state.settings.public_url or "").rstrip("/"),
    )


def create_health_app(app: FastAPI) -> FastAPI:
    """Only the health routes of `app`, with its connection to Temporal."""
    own = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=_TELEMETRY)
    own.add_middleware(OneSpelling)
    own.state.gateway = app.state.gateway
    problems.install(own)
    own.include_router(health)
    own.include_router(readiness)
    return own
