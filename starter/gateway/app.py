"""The FastAPI application: what it takes, what it answers; the details are in the siblings."""

from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from contracts.events import GenerationRequested
from contracts.names import CORRELATION_HEADER, WEBHOOK_ID_PREFIX
from peers.clients import named_client
from starter.client import AsyncDuragenClient
from starter.gateway import problems
from starter.gateway.body import read_event, read_model
from starter.gateway.callers import Caller, Callers
from starter.gateway.calls_log import CallsLog
from starter.gateway.connection import Connections
from starter.gateway.developers.callers import Developers
from starter.gateway.developers.desk import Desk
from starter.gateway.developers.refusals import Refusals
from starter.gateway.developers.routes import developers_api
from starter.gateway.developers.settings import DeveloperApi
from starter.gateway.developers.waiting import Waiting
from starter.gateway.developers.webhooks import webhooks_api
from starter.gateway.images import ImageLinks
from starter.gateway.models import (
    EXAMPLE_EVENT,
    Accepted,
    CancelAnswer,
    ConnectionReport,
    ConnectionTestRequest,
    GenerationStatus,
    Health,
    RedeliverAnswer,
    WebhookAccepted,
    WebhookDelivery,
)
from starter.gateway.openapi import body_of
from starter.gateway.paths import OneSpelling
from starter.gateway.problems import FieldError, ProblemError, documented, invalid
from starter.gateway.readiness import Readiness
from starter.gateway.settings import GatewaySettings
from starter.private_answers import PrivateAnswers
from starter.request_body import BodyRoom
from starter.start import CallbackNotAllowedError, EntryPoint

TEMPORAL_SECONDS = 2.0
"""How long a request waits for Temporal before it is a 503; the caller sends it again."""

_NO_VALIDATOR = {"validatorUrl": None}
"""Swagger UI would have the document's address looked at by a service of its makers."""

_bearer = HTTPBearer(auto_error=False, description="A key from the operators.")
_EVENT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": GenerationRequested.model_json_schema(),
                "example": EXAMPLE_EVENT,
            }
        },
    }
}
_WEBHOOK_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": WebhookDelivery.model_json_schema()}},
    }
}
_TELEMETRY = TelemetryConfig(auto_configure=False)
"""FASTAPI_OTEL_AUTO_CONFIGURE would add an exporter of FastAPI's own, past otel/setup.py."""
_WEBHOOK_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Any; it may have several parts, such as `odoo/generate-image`.",
    "schema": {"type": "string", "minLength": 1},
}


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


def _state(request: Request) -> GatewayState:
    return cast("GatewayState", request.app.state.gateway)


async def _authenticated(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    caller = _state(request).callers.knows(given.credentials) if given else None
    if caller is None:
        raise ProblemError(
            401, "send Authorization: Bearer KEY", headers={"WWW-Authenticate": "Bearer"}
        )
    request.state.caller, request.state.caller_name = caller, caller.key.name
    caller.check_rate()


def _caller(request: Request) -> Caller:
    return cast("Caller", request.state.caller)


def _generation(request: Request, request_id: UUID) -> str:
    """The id of the caller's own generation."""
    request.state.request_id = request_id
    return _caller(request).generation(request_id)


generations = APIRouter(tags=["generations"], dependencies=[Depends(_authenticated)])
health = APIRouter(tags=["health"])
readiness = APIRouter(tags=["health"])


@generations.post(
    "/v1/generations",
    status_code=202,
    response_model=Accepted,
    responses=documented(400, 401, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=_EVENT_BODY,
    summary="Start a generation (EVT-AIG-001)",
)
@generations.post(
    "/webhook/{name:path}",
    status_code=202,
    response_model=Accepted,
    responses=documented(400, 401, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra={**_EVENT_BODY, "parameters": [_WEBHOOK_NAME]},
    summary="The same, under the path of an existing webhook trigger",
)
async def start(request: Request) -> JSONResponse:
    """Take the request and answer at once; the image comes to `callbackUrl` later.

    Sending the same request again is safe and gives the generation that exists; the same
    `requestId` with another payload is a conflict. On 503 send it again: none is started twice.
    """
    state, caller = _state(request), _caller(request)
    limit = state.settings.max_body_bytes
    event = await read_event(request, limit, state.room, caller.key.name)
    request.state.request_id = event.request_id
    caller.check_callback(event.callback_url)
    budgets = await caller.admitted(event.request_id)
    try:
        started = await state.entry_point.start(
            event,
            owner=caller.key.owner_name,
            caller=caller.key.name,
            span=f"{request.method} {request.scope['route'].path_format}",
            headers=request.headers,
        )
    except CallbackNotAllowedError:
        message = "its origin or its path is not one that results may be sent to"
        fault = FieldError(field="callbackUrl", rule="origin_not_allowed", message=message)
        raise invalid([fault]) from None
    answer = Accepted(
        request_id=event.request_id,
        correlation_id=event.correlation_id,
        workflow_id=started.workflow_id,
        run_id=started.run_id,
        created=started.created,
        status_url=state.status_url(event.request_id),
    )
    headers = {"Location": answer.status_url, CORRELATION_HEADER: str(event.correlation_id)}
    if budgets:
        headers |= min(budgets, key=lambda budget: budget.remaining).headers
    return JSONResponse(answer.model_dump(mode="json"), 202, headers)


@generations.post(
    "/v1/webhook-deliveries",
    status_code=202,
    responses=documented(400, 401, 408, 413, 415, 422, 429, 503),
    openapi_extra=_WEBHOOK_BODY,
    summary="Deliver a webhook of an API user",
)
async def start_webhook(request: Request) -> WebhookAccepted:
    """For an Odoo that has API users: Duragen asks it for the request, and makes the attempts."""
    state, caller = _state(request), _caller(request)
    limit = state.settings.max_body_bytes
    delivery = await read_model(WebhookDelivery, request, limit, state.room, caller.key.name)
    caller.check_source(delivery.source, state.webhook_sources)
    owner = caller.key.owner_name
    given = delivery.model_dump(mode="json", exclude_none=True)
    created = await state.client.start_webhook(given, owner=owner)
    name = f"{WEBHOOK_ID_PREFIX}{delivery.delivery_id}{f'.{owner}' if owner else ''}"
    return WebhookAccepted(workflow_id=name, created=created)


@generations.post(
    "/v1/connection-test",
    responses=documented(400, 401, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=body_of(ConnectionTestRequest),
    summary="Try whether an Odoo's generations could be made",
)
async def test_connection(request: Request) -> ConnectionReport:
    """Within 12 s: are there workers, do they know the models, does a test event reach Odoo."""
    state, caller = _state(request), _caller(request)
    limit = state.settings.max_body_bytes
    test = await read_model(ConnectionTestRequest, request, limit, state.room, caller.key.name)
    return await state.connections.tried(test, caller)


@generations.get(
    "/v1/generations/{request_id}",
    responses=documented(401, 404, 422, 429, 503),
    summary="Where a generation stands",
)
async def status(request: Request, request_id: UUID) -> GenerationStatus:
    """State, progress, image or error; answers at any time, also when no worker runs."""
    generation = _generation(request, request_id)
    return GenerationStatus.of(await _state(request).client.status(generation))


@generations.get(
    "/v1/generations/{request_id}/image",
    status_code=307,
    response_class=RedirectResponse,
    responses={
        307: {"description": "`Location` is a link to the image's bytes, good for a while"},
        **documented(401, 404, 422, 429, 503),
    },
    summary="A fresh link to the image",
)
async def image(request: Request, request_id: UUID) -> RedirectResponse:
    """Leads to the image in the store. This address stays good when the links have expired."""
    link = await _state(request).images.link(_generation(request, request_id))
    return RedirectResponse(link)


@generations.delete(
    "/v1/generations/{request_id}",
    status_code=202,
    response_model=CancelAnswer,
    responses={
        200: {"model": CancelAnswer, "description": "It had already ended; nothing changes"},
        **documented(401, 404, 422, 429, 503),
    },
    summary="Cancel a generation",
)
async def cancel(request: Request, request_id: UUID) -> JSONResponse:
    """Ask for the cancellation; Odoo gets the outcome `CANCELED` when that has taken effect."""
    state = _state(request)
    generation = _generation(request, request_id)
    requested = await state.client.cancel(generation)
    answer = CancelAnswer(
        request_id=request_id,
        workflow_id=generation,
        cancel_requested=requested,
        status_url=state.status_url(request_id),
    )
    return JSONResponse(answer.model_dump(mode="json"), 202 if requested else 200)


@generations.post(
    "/v1/generations/{request_id}/redeliver",
    status_code=202,
    responses=documented(401, 404, 422, 429, 503),
    summary="Deliver a parked outcome now",
)
async def redeliver(request: Request, request_id: UUID) -> RedeliverAnswer:
    """For an Odoo that is back: it need not wait for the next try. Nothing else is repeated."""
    state = _state(request)
    generation = _generation(request, request_id)
    await state.client.redeliver(generation)
    return RedeliverAnswer(
        request_id=request_id,
        workflow_id=generation,
        status_url=state.status_url(request_id),
    )


@health.get("/health", summary="The process lives")
async def live() -> Health:
    """200 as long as the process answers."""
    return Health(status="live")


@readiness.get("/health/ready", responses=documented(503), summary="Requests can be taken")
async def ready(request: Request) -> Health:
    """200 when Temporal answers and has the namespace; asked once a second at most."""
    await _state(request).readiness.check()
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
