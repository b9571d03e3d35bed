"""The routes of a generation: start it, ask for it, cancel it; for callers with a key."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from contracts.events import GenerationRequested
from contracts.names import CORRELATION_HEADER, WEBHOOK_ID_PREFIX
from starter.gateway.body import read_event, read_model
from starter.gateway.callers import Caller
from starter.gateway.models import (
    EXAMPLE_EVENT,
    Accepted,
    CancelAnswer,
    ConnectionReport,
    ConnectionTestRequest,
    GenerationStatus,
    RedeliverAnswer,
    WebhookAccepted,
    WebhookDelivery,
)
from starter.gateway.openapi import body_of
from starter.gateway.problems import FieldError, ProblemError, documented, invalid
from starter.gateway.state import state_of
from starter.start import CallbackNotAllowedError

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
_WEBHOOK_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Any; it may have several parts, such as `odoo/generate-image`.",
    "schema": {"type": "string", "minLength": 1},
}


async def _authenticated(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    caller = state_of(request).callers.knows(given.credentials) if given else None
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
    state, caller = state_of(request), _caller(request)
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
    state, caller = state_of(request), _caller(request)
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
    state, caller = state_of(request), _caller(request)
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
    return GenerationStatus.of(await state_of(request).client.status(generation))


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
    link = await state_of(request).images.link(_generation(request, request_id))
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
    state = state_of(request)
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
    state = state_of(request)
    generation = _generation(request, request_id)
    await state.client.redeliver(generation)
    return RedeliverAnswer(
        request_id=request_id,
        workflow_id=generation,
        status_url=state.status_url(request_id),
    )
