"""Webhooks as API users see them; the OpenAPI document is made from these."""

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field

from contracts.events import HttpUrl, WireModel
from starter.gateway.developers.models import CREATED_AT, EXAMPLE_ID, example

_URL = "https://app.example.com/duragen"
_ID = "8f7b0c1e-52a4-4c0b-8a45-5d7f6f1f1a02"
_WEBHOOK: dict[str, Any] = {
    "id": _ID,
    "url": _URL,
    "description": "the shop",
    "events": ["generation.completed", "generation.failed"],
    "payload": "full",
    "enabled": True,
    "disabledWhy": None,
    "failingSince": None,
    "createdAt": CREATED_AT,
}
_DELIVERY: dict[str, Any] = {
    "id": "c1a7d9a8-7d0b-4f0e-9a51-3f8f0b6f2e03",
    "messageId": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
    "event": "generation.completed",
    "jobId": EXAMPLE_ID,
    "status": "delivered",
    "attempts": 1,
    "lastAttemptAt": CREATED_AT,
    "lastStatus": 200,
    "lastMilliseconds": 45,
    "lastAnswer": "ok",
    "createdAt": CREATED_AT,
}


class WebhookEvent(StrEnum):
    """What may be heard of a job."""

    STARTED = "generation.started"
    COMPLETED = "generation.completed"
    FAILED = "generation.failed"
    CANCELED = "generation.canceled"


Url = Annotated[HttpUrl, Field(description="On the public internet; https, but for tests.")]
Description = Annotated[str, Field(max_length=200)]
Events = Annotated[list[WebhookEvent], Field(min_length=1, description="What it is to hear of.")]
Payload = Annotated[
    Literal["full", "thin"], Field(description="The whole job, or its id and status alone.")
]


class _Given(WireModel):
    model_config = ConfigDict(extra="forbid")


class NewWebhook(_Given):
    """An address that is to hear what becomes of your jobs."""

    model_config = example({"url": _URL, "events": ["generation.completed", "generation.failed"]})

    url: Url
    description: Description = ""
    events: Events = Field(
        default_factory=lambda: [
            WebhookEvent.COMPLETED,
            WebhookEvent.FAILED,
            WebhookEvent.CANCELED,
        ]
    )
    payload: Payload = "full"


class WebhookChange(_Given):
    """What is to be otherwise; what is absent stays."""

    model_config = example({"enabled": False})

    url: Url | None = None
    description: Description | None = None
    events: Events | None = None
    payload: Payload | None = None
    enabled: bool | None = None


class Webhook(WireModel):
    """An endpoint; `disabledWhy` is user, gone (it answered 410) or failing (for five days)."""

    model_config = example(_WEBHOOK)

    id: UUID
    url: str
    description: str
    events: list[WebhookEvent]
    payload: Payload
    enabled: bool
    disabled_why: str | None = None
    failing_since: str | None = None
    created_at: str


class WebhookWithSecret(Webhook):
    """With the secret that signs: it is shown here alone."""

    model_config = example({**_WEBHOOK, "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"})

    secret: Annotated[str, Field(description="`whsec_` and base64.")]
    previous_secret_until: Annotated[
        str | None, Field(description="Until then the one before signs as well.")
    ] = None


class Webhooks(WireModel):
    """All of yours, the newest first."""

    model_config = example({"webhooks": [_WEBHOOK]})

    webhooks: list[Webhook]


class Delivery(WireModel):
    """One event for one endpoint, with the answer to the last attempt."""

    model_config = example(_DELIVERY)

    id: UUID
    message_id: Annotated[str, Field(description="The header webhook-id.")]
    event: str
    job_id: UUID | None = None
    status: Literal["waiting", "sending", "delivered", "failed", "dropped"]
    attempts: int
    last_attempt_at: str | None = None
    last_status: int | None = None
    last_milliseconds: int | None = None
    last_answer: str = ""
    created_at: str


class Deliveries(WireModel):
    """One page, the newest first; `next` is the cursor of the next one."""

    model_config = example({"deliveries": [_DELIVERY], "next": None})

    deliveries: list[Delivery]
    next: UUID | None = None


class Redelivery(_Given):
    """What is to be sent again: one delivery, or all since a moment (a thousand at most)."""

    model_config = example({"since": CREATED_AT})

    delivery: UUID | None = None
    since: AwareDatetime | None = None


class Redelivered(WireModel):
    """How many are sent again."""

    model_config = example({"count": 3})

    count: int


class Deleted(WireModel):
    """It is gone; what was under way is dropped."""

    model_config = example({"id": _ID})

    id: UUID
