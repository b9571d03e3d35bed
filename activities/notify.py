"""Notifying the user through the notification service. spec: error-handling.sequence, 8.4, 9.4.

`POST {base_url}/notify/generation-error` with the friendly message, never the raw error; its twin
`/notify/generation-success` when there is an image.
"""

import json
from typing import Any

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import beating
from contracts.errors import ErrorKind
from contracts.names import NOTIFY_ACTIVITY
from contracts.tasks import Delivered, DeliverTask
from peers.http import call

TIMEOUT_SECONDS = 20.0
MAX_ANSWER_BYTES = 64 * 1024


class NotifyActivities:
    """One notification service."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, token: str | None) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._token = token

    @activity.defn(name=NOTIFY_ACTIVITY)
    async def notify(self, task: DeliverTask) -> Delivered:
        """Send the notification once; raises ApplicationError, and Temporal tries again."""
        path, message = _message(task)
        # Sent twice when a worker dies after the service received it; the service shows it once.
        headers = {"Content-Type": "application/json", "Idempotency-Key": task.message_id}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            async with beating():
                answer = await call(
                    self._client,
                    "POST",
                    f"{self._base_url}{path}",
                    timeout_seconds=TIMEOUT_SECONDS,
                    max_bytes=MAX_ANSWER_BYTES,
                    headers=headers,
                    content=json.dumps(message).encode(),
                )
        except (TimeoutError, httpx.HTTPError) as error:
            # Its type alone: the text of some quotes the header, and the token in it.
            raise ApplicationError(f"the notification service: {type(error).__name__}") from None
        if not 200 <= answer.status < 300:
            raise ApplicationError(f"the notification service answered {answer.status}")
        return Delivered(answer=str(answer.status))


def _message(task: DeliverTask) -> tuple[str, dict[str, Any]]:
    facts: dict[str, Any] = {
        "generationRequestId": str(task.request_id),
        "userId": str(task.user_id),
    }
    failure = task.outcome.failure
    if failure is None:
        return "/notify/generation-success", facts
    facts["userMsg"] = failure.user_message
    if failure.rule.kind is ErrorKind.USER:
        facts["specificGuidance"] = True
    else:
        facts["retrySuggestion"] = failure.rule.retry_suggestion
    return "/notify/generation-error", facts
