"""`/v1/webhooks`: where API users want to hear what becomes of their jobs. Odoo keeps them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request

from starter.gateway.body import read_model
from starter.gateway.developers.callers import MAX_BODY_BYTES, Caller, read
from starter.gateway.developers.webhook_models import (
    Deleted,
    Deliveries,
    Delivery,
    NewWebhook,
    Redelivered,
    Redelivery,
    Webhook,
    WebhookChange,
    Webhooks,
    WebhookWithSecret,
)
from starter.gateway.openapi import body_of
from starter.gateway.problems import documented

webhooks_api = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


WebhookId = Annotated[UUID, Path(description="`id` of the webhook.")]
_READS = documented(401, 403, 404, 422, 503)
_WRITES = documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 503)


@webhooks_api.post(
    "",
    status_code=201,
    responses=documented(400, 401, 403, 408, 409, 413, 415, 422, 503),
    openapi_extra=body_of(NewWebhook),
    response_description="It is there, and this is its secret",
    summary="Add a webhook",
)
async def create(request: Request, caller: Caller) -> WebhookWithSecret:
    """Keep the secret of the answer: with it you verify what comes (Standard Webhooks)."""
    given = await _given(NewWebhook, request, caller)
    return read(WebhookWithSecret, await caller.ask("webhook_create", given))


@webhooks_api.get(
    "",
    responses=documented(401, 403, 503),
    response_description="All of them",
    summary="Your webhooks",
)
async def webhooks(caller: Caller) -> Webhooks:
    """The newest first."""
    return read(Webhooks, await caller.ask("webhook_list"))


@webhooks_api.get(
    "/{webhook_id}", responses=_READS, response_description="The webhook", summary="One webhook"
)
async def webhook(caller: Caller, webhook_id: WebhookId) -> Webhook:
    """Its settings, and whether it fails."""
    return read(Webhook, await caller.ask("webhook_get", str(webhook_id)))


@webhooks_api.patch(
    "/{webhook_id}",
    responses=_WRITES,
    openapi_extra=body_of(WebhookChange),
    response_description="As it is now",
    summary="Change a webhook, or switch it off and on",
)
async def change(request: Request, caller: Caller, webhook_id: WebhookId) -> Webhook:
    """What is under way goes to the new address at its next attempt."""
    given = await _given(WebhookChange, request, caller)
    return read(Webhook, await caller.ask("webhook_update", str(webhook_id), given))


@webhooks_api.delete(
    "/{webhook_id}", responses=_READS, response_description="It is gone", summary="Delete a webhook"
)
async def delete(caller: Caller, webhook_id: WebhookId) -> Deleted:
    """With its deliveries: what is under way is dropped."""
    return read(Deleted, await caller.ask("webhook_delete", str(webhook_id)))


@webhooks_api.post(
    "/{webhook_id}/rotate",
    responses=_READS,
    response_description="The new secret",
    summary="A new secret",
)
async def rotate(caller: Caller, webhook_id: WebhookId) -> WebhookWithSecret:
    """For a day the one before signs as well: verify with either until you have changed."""
    return read(WebhookWithSecret, await caller.ask("webhook_rotate", str(webhook_id)))


@webhooks_api.post(
    "/{webhook_id}/test",
    status_code=202,
    responses=documented(401, 403, 404, 409, 422, 503),
    response_description="The delivery; it is under way",
    summary="Send a test event",
)
async def test(caller: Caller, webhook_id: WebhookId) -> Delivery:
    """`webhook.test`, delivered as any other; the list of deliveries says how it went."""
    return read(Delivery, await caller.ask("webhook_test", str(webhook_id)))


@webhooks_api.get(
    "/{webhook_id}/deliveries",
    responses=_READS,
    response_description="One page of them",
    summary="Recent deliveries",
)
async def deliveries(
    caller: Caller,
    webhook_id: WebhookId,
    limit: Annotated[int, Query(ge=1, le=100, description="Of one page.")] = 20,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
) -> Deliveries:
    """Of the last 30 days, each with the answer to its last attempt."""
    filters = {"limit": limit, **({"after": str(cursor)} if cursor else {})}
    return read(Deliveries, await caller.ask("webhook_deliveries", str(webhook_id), filters))


@webhooks_api.post(
    "/{webhook_id}/redeliver",
    status_code=202,
    responses=_WRITES,
    openapi_extra=body_of(Redelivery),
    response_description="They are under way",
    summary="Send deliveries again",
)
async def redeliver(request: Request, caller: Caller, webhook_id: WebhookId) -> Redelivered:
    """With the same webhook-id as before, so that you can tell what you have already."""
    given = await _given(Redelivery, request, caller)
    return read(Redelivered, await caller.ask("webhook_redeliver", str(webhook_id), given))


async def _given(
    model: type[NewWebhook | WebhookChange | Redelivery], request: Request, caller: Caller
) -> dict[str, Any]:
    room, name = caller.developers.room, request.state.caller_name
    found = await read_model(model, request, MAX_BODY_BYTES, room, name)
    return found.model_dump(mode="json", exclude_none=True)
