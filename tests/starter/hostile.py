"""Hostile text for every place that others fill, and what no output may hold of it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from contracts import names
from contracts.errors import DeliveryError, ErrorCode
from contracts.generation import Failure, Plan, Route
from contracts.tasks import Delivered, DeliverTask, PlanTask, SubmitTask, Submitted
from tests.starter.entry_points import CALLBACK_URL, ODOO, activity_error
from workflows.generation import Generation
from workflows.odoo_health import OdooHealth

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\\x9b31m\u202eevil"
    "\u2066\u200b\U000e0041\ufeff\x7f\x85\u2028\r\nFORGED [bold red]m[/] [link=http://evil.example]x[/link]"
    " ![i](http://evil.example/i.png) [l](http://evil.example) <img src=http://evil.example/j>"
    " <!channel> @here `b` MARK"
)
"""Ends a line and begins one of its own; steers terminals, eyes, rich, Markdown, HTML and chats."""

REFUSED_URL = f"{CALLBACK_URL}/refused"
"""The `callbackUrl` of a generation that Odoo refuses."""


def broken() -> int:
    """A fault of ours, with their text in it."""
    raise RuntimeError(HOSTILE)


def faults_of(text: str) -> list[str]:
    """What a terminal would obey, what nobody sees, and lines that others have forged."""
    unseen = [ascii(c) for c in text if not (c.isprintable() or c == "\n")]
    return unseen + re.findall(r"^\s*FORGED.*", text, re.MULTILINE)


def status() -> dict[str, Any]:
    """What a gateway may say that is somebody else's, in every text."""
    return {
        "requestId": HOSTILE,
        "workflowId": HOSTILE,
        "state": "failed",
        "progress": 100,
        "route": {"provider": HOSTILE, "model": HOSTILE},
        "image": {
            **dict.fromkeys(("format", "key", "sha256"), HOSTILE),
            **dict.fromkeys(("width", "height", "size"), 1),
        },
        "error": {"code": HOSTILE, "detail": HOSTILE, "mayHaveBeenPaid": True},
        "parked": {"code": HOSTILE, "detail": HOSTILE, "attempts": 1, "nextTry": HOSTILE},
        "ignoredFields": [HOSTILE],
        "activities": [
            {
                **dict.fromkeys(("type", "lastFailure"), HOSTILE),
                "attempt": 2,
                "heartbeat": [{"percent": HOSTILE}],
            }
        ],
    }


@asynccontextmanager
async def working(temporal: Client) -> AsyncIterator[None]:
    """The real workflow; provider and Odoo answer with hostile text."""

    @activity.defn(name=names.PLAN_ACTIVITY)
    async def plan(_: PlanTask) -> Plan:
        return Plan(routes=(Route(provider="sandbox", model=HOSTILE),), odoo=ODOO)

    @activity.defn(name=names.SUBMIT_ACTIVITY)
    async def submit(_: SubmitTask) -> Submitted:
        raise activity_error(Failure(code=ErrorCode.AUTH_CONFIG, detail=HOSTILE))

    @activity.defn(name=names.DELIVER_ACTIVITY)
    async def deliver(task: DeliverTask) -> Delivered:
        if task.callback_url == REFUSED_URL:
            raise ApplicationError(HOSTILE, type=DeliveryError.ODOO_REFUSED, non_retryable=True)
        return Delivered(answer=HOSTILE)

    queue, provider = names.GENERATION_QUEUE, names.provider_queue("sandbox")
    async with (
        Worker(temporal, task_queue=queue, workflows=[Generation, OdooHealth], activities=[plan]),
        Worker(temporal, task_queue=names.odoo_queue(ODOO), activities=[deliver]),
        Worker(temporal, task_queue=provider, activities=[submit]),
    ):
        yield
