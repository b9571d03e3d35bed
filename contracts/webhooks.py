"""Webhooks to API users: what the workflow of one delivery keeps, and what its activities take.

It stands in history: fields may be added with a default, never renamed or removed. Neither secrets
nor bodies are here: whoever wants one attempt made asks Odoo for it.
"""

from enum import StrEnum
from uuid import UUID

from pydantic import Field

from contracts.events import HttpUrl
from contracts.generation import Model

PAUSES_SECONDS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""Before each attempt: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.

The schedule of Svix, which Standard Webhooks recommends ("Deliverability and reliability").
"""


class WebhookTask(Model):
    """Input of the workflow `WebhookDelivery` and of its activities: one event for one receiver."""

    delivery_id: UUID
    source: HttpUrl
    """The Odoo's route that has the request to send, and takes what came of it."""
    receiver: str = Field(max_length=64)
    """Whose it is, so that one receiver takes no turns of others."""
    request_id: UUID | None = None
    correlation_id: UUID | None = None
    number: int = 0
    """The attempt, from 1 on; 0 in the workflow's own input."""
    sent: "WebhookSent | None" = None
    """What came of the attempt, for the activity that reports it."""


class WebhookEnd(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It is tried again, as long as the schedule lasts."""
    GONE = "gone"
    """410: the receiver wants no more."""
    DROPPED = "dropped"
    """Odoo wants it sent no more: the endpoint is disabled or deleted."""


class WebhookSent(Model):
    """Result of an attempt. `answer` is the beginning of the receiver's words, made plain."""

    end: WebhookEnd
    status: int | None = None
    milliseconds: int = 0
    answer: str = ""


class WebhookReported(Model):
    """Result of the activity that reports: what Odoo answered."""

    answer: str
    failing: bool = False
    """Odoo has switched the endpoint off: for days it took nothing."""
