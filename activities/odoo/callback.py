"""Delivery by HTTP: POST to the request's `callbackUrl`, with bearer token and signature.

The signature follows Standard Webhooks; `webhook-id` is the same at each repeat of an event, so
that Odoo can distinguish a repeat from a new event.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

from activities.errors import OdooError
from activities.odoo.deliver import TIMEOUT_SECONDS, OutcomeEvent
from activities.odoo.refusals import refusal_in
from contracts.callbacks import CALLBACK_PATHS, callback_fault
from contracts.errors import DeliveryError
from contracts.tasks import DeliverTask
from peers.bodies import TooLargeError
from peers.http import Answer, call, parsed, retry_after_seconds
from peers.redaction import redact

MAX_ANSWER_BYTES = 64 * 1024
_TRY_AGAIN = frozenset({408, 425, 429})
_UNAUTHORIZED = 401


class CallbackDelivery:
    """Callbacks to one Odoo; `origin` and `paths` are checked once more, right before the call.

    Of tokens and signing secrets there are two while they are being changed, the newest first.
    Every secret signs, as Standard Webhooks has it; an Odoo that answers 401 to one token gets the
    other. So either side may be the first to have the new ones.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        origin: str,
        tokens: Sequence[str],
        signing_secrets: Sequence[str],
        *,
        paths: Collection[str] = CALLBACK_PATHS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._client = client
        self._origin = origin
        self._allowed = {origin: paths}
        self._tokens = tokens
        self._webhooks = [Webhook(secret) for secret in signing_secrets]
        self._now = now
        self._timeout_seconds = timeout_seconds

    async def deliver(self, task: DeliverTask, event: OutcomeEvent) -> str:
        """POST the event. Any 2xx is taken, unless it is an error or a page in disguise."""
        if fault := callback_fault(task.callback_url, self._allowed):
            raise OdooError(DeliveryError.ODOO_REFUSED, f"{fault}, then retry")
        body = event.model_dump_json(exclude_none=True)
        first, *others = self._tokens or (None,)
        answer = await self._called(task, body, first)
        # The first one again at the end: Odoo may have changed to it between two calls.
        for token in (*others, first) if others else ():
            if answer.status == _UNAUTHORIZED:
                answer = await self._called(task, body, token)
        return self._taken(task, answer)

    async def _called(self, task: DeliverTask, body: str, token: str | None) -> Answer:
        try:
            return await call(
                self._client,
                "POST",
                task.callback_url,
                timeout_seconds=self._timeout_seconds,
                max_bytes=MAX_ANSWER_BYTES,
                headers=self._headers(task, body, token),
                content=body.encode(),
            )
        except TooLargeError as error:
            raise OdooError(DeliveryError.ODOO_REFUSED, f"{self._where(task)} {error}") from error
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError) as error:
            # Without the error's own text: it quotes the header, and the token in it.
            raise OdooError(
                DeliveryError.ODOO_REFUSED,
                f"{self._where(task)} cannot be called: check callbackUrl, and the token for what"
                " no header may hold (a line break?)",
            ) from error
        except (TimeoutError, httpx.HTTPError) as error:
            reason = str(error) or type(error).__name__
            raise OdooError(
                DeliveryError.ODOO_UNAVAILABLE, f"{self._where(task)} did not answer: {reason}"
            ) from error

    def _headers(self, task: DeliverTask, body: str, token: str | None) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self._webhooks:
            now = self._now()
            identity = task.message_id
            headers["webhook-id"] = identity
            headers["webhook-timestamp"] = str(int(now.timestamp()))
            signatures = [webhook.sign(identity, now, body) for webhook in self._webhooks]
            headers["webhook-signature"] = " ".join(signatures)
        return headers

    def _taken(self, task: DeliverTask, answer: Answer) -> str:
        again = answer.status in _TRY_AGAIN or answer.status >= 500
        trouble = None
        if not 200 <= answer.status < 300:
            trouble = "it is in trouble itself" if again else "a refusal"
        if trouble is None and answer.content_type == "text/html":
            trouble = "a web page: is callbackUrl the callback's route?"
        if trouble is None and answer.content_type == "application/json":
            said = parsed(answer)
            # Odoo's JSON routes answer 200 whatever happened, with the error inside.
            if isinstance(said, dict) and said.get("error"):
                trouble = "an error inside"
            elif isinstance(said, dict) and (inside := refusal_in(said.get("result", said))):
                trouble, again = inside
        beginning = answer.body[:300].decode("utf-8", "replace")
        for token in self._tokens:
            beginning = redact(token, beginning)
        if trouble is None:
            return f"{answer.status} {beginning}".strip()
        raise OdooError(
            DeliveryError.ODOO_UNAVAILABLE if again else DeliveryError.ODOO_REFUSED,
            f"{self._where(task)} answered {answer.status} ({trouble}): {beginning}",
            retry_after=retry_after_seconds(answer.headers) if again else None,
        )

    def _where(self, task: DeliverTask) -> str:
        return f"{self._origin}{urlsplit(task.callback_url).path}"
