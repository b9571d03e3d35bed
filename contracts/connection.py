"""The connection test of an Odoo: what its workflow takes and answers, and the event of the test.

It stands in history: fields may be added with a default, never renamed or removed.
"""

from typing import Literal
from uuid import UUID

from pydantic import Field

from contracts.events import HttpUrl, WireModel
from contracts.generation import Model

MOST_MODELS = 500
"""Model ids that one test asks about."""


class ConnectionTestTask(Model):
    """Input of the workflow `ConnectionTest` and of its activities."""

    request_id: UUID
    """The test's own: the Odoo that asked for it knows it, and takes it once."""
    correlation_id: UUID
    model_ids: tuple[UUID, ...] = Field(default=(), max_length=MOST_MODELS)
    callback_url: HttpUrl | None = None
    """Where the test event goes; None: nowhere."""


class ConnectionLook(Model):
    """What a worker's settings say of a test."""

    unknown_models: tuple[UUID, ...] = ()
    queues: tuple[str, ...] = ()
    """The task queues that a generation with one of the known models needs."""
    odoo: str | None = None
    """The origin whose queue has the call; None where nothing is called."""
    fault: str | None = None
    """Why nothing may be called there."""
    unchecked: str | None = None
    """Why a call would prove nothing."""


class CalledBack(Model):
    """What came of the test event; `ok` is None when none was sent."""

    ok: bool | None = None
    detail: str = ""


class ConnectionTested(Model):
    """Result of the workflow."""

    unknown_models: tuple[UUID, ...] = ()
    queues: tuple[str, ...] = ()
    callback: CalledBack = CalledBack()


class TestEvent(WireModel):
    """What reaches Odoo's callback in a test: it is no outcome, and changes no request."""

    __test__ = False  # pytest takes it for a test

    request_id: UUID
    correlation_id: UUID
    status: Literal["test"]
