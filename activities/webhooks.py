"""Webhooks: one attempt for one receiver. Odoo has the request to send, signed and all.

So Odoo's secrets stay in Odoo, an endpoint that was changed, disabled or deleted is at once, and
two secrets are valid while they are being rotated.
"""

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from standardwebhooks import Webhook
from temporalio import activity
from temporalio.exceptions import ApplicationError

from contracts.events import AbsoluteUrl, origin_of
from contracts.names import REPORT_WEBHOOK_ACTIVITY, SEND_WEBHOOK_ACTIVITY
from contracts.plain import one_line
from contracts.webhooks import WebhookEnd, WebhookReported, WebhookSent, WebhookTask
from otel.correlation import outgoing_headers
from peers.addresses import AddressError
from peers.bodies import ASKED_ENCODING, BodyError
from peers.http import Answer, call, parsed

logger = logging.getLogger(__name__)

RECEIVER_SECONDS = 15.0
"""For a receiver's answer: as Svix has it."""

ODOO_SECONDS = 20.0
MAX_ANSWER_BYTES = 64 * 1024
AT_ONCE_EACH = 5
"""Attempts that each receiver may always have under way in one worker."""

LONGEST_BUSY_SECONDS = 300
"""Between two looks for a turn: thousands that wait for a silent receiver cost next to nothing."""

ANSWER_CHARACTERS = 300
MOST_SAID_BYTES = 4 * ANSWER_CHARACTERS
_URL: TypeAdapter[str] = TypeAdapter(AbsoluteUrl)
_GONE = 410


class WebhookSource(NamedTuple):
    """How one Odoo is asked: as callbacks are, by bearer token and signature."""

    tokens: Sequence[str]
    signing_secrets: Sequence[str]
    path: str


class _Prepared(BaseModel):
    """Odoo's answer: what to send, or why nothing is."""

    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""
    drop: str | None = None


class WebhookActivities:
    """`public` calls what is on the internet, `named` the origins in `private`, `odoo` the Odoos.

    Of the `slots` of this worker a receiver takes half of what is left: however many wait for one
    that is silent, the others find room.
    """

    def __init__(
        self,
        sources: Mapping[str, WebhookSource],
        odoo: httpx.AsyncClient,
        named: httpx.AsyncClient,
        public: httpx.AsyncClient,
        *,
        private: frozenset[str] = frozenset(),
        slots: int = 100,
    ) -> None:
        self._sources = sources
        self._odoo = odoo
        self._named = named
        self._public = public
        self._private = private
        self._slots = slots
        self._busy: Counter[str] = Counter()

    @activity.defn(name=SEND_WEBHOOK_ACTIVITY)
    async def send_webhook(self, task: WebhookTask) -> WebhookSent:
        """Ask Odoo for the request and send it. Raises ApplicationError when Odoo is away."""
        with self._turn(task.receiver):
            answer = await self._ask_odoo(task, {"do": "prepare", "attempt": task.number})
            try:
                prepared = _Prepared.model_validate(parsed(answer))
            except ValidationError:
                raise ApplicationError("Odoo answers no webhook to send") from None
            if prepared.url is None:
                dropped = one_line(prepared.drop or "Odoo wants it sent no more")
                return WebhookSent(end=WebhookEnd.DROPPED, answer=dropped[:ANSWER_CHARACTERS])
            try:
                url = _URL.validate_python(prepared.url)
            except ValidationError:
                return WebhookSent(end=WebhookEnd.FAILED, answer="its URL is none to call")
            return await self._sent(url, prepared)

    @activity.defn(name=REPORT_WEBHOOK_ACTIVITY)
    async def report_webhook(self, task: WebhookTask) -> WebhookReported:
        """Tell Odoo what came of an attempt; it may hear it twice. Raises ApplicationError."""
        said: dict[str, Any] = {"do": "report", "attempt": task.number}
        if task.sent:
            said |= task.sent.model_dump(mode="json")
        answer = await self._ask_odoo(task, said)
        said_back = parsed(answer)
        failing = isinstance(said_back, dict) and said_back.get("failing") is True
        return WebhookReported(answer=str(answer.status), failing=failing)

    @contextmanager
    def _turn(self, receiver: str) -> Iterator[None]:
        """One of the receiver's turns in this worker, or another try a moment later."""
        room = max(AT_ONCE_EACH, (self._slots - self._busy.total()) // 2)
        if self._busy[receiver] >= room:
            longest = min(2 ** min(activity.info().attempt, 16), LONGEST_BUSY_SECONDS)
            raise ApplicationError(
                f"{self._busy[receiver]} attempts for this receiver are under way",
                next_retry_delay=timedelta(seconds=random.uniform(0.5, 1) * longest),  # noqa: S311
            )
        self._busy[receiver] += 1
        try:
            yield
        finally:
            self._busy[receiver] -= 1
            if not self._busy[receiver]:
                del self._busy[receiver]

    async def _sent(self, url: str, prepared: _Prepared) -> WebhookSent:
        began = time.monotonic()
        client = self._named if origin_of(url) in self._private else self._public
        status, said = await _posted(client, url, prepared)
        return WebhookSent(
            end=_end_of(status),
            status=status,
            milliseconds=round((time.monotonic() - began) * 1_000),
            answer=one_line(said)[:ANSWER_CHARACTERS],
        )

    async def _ask_odoo(self, task: WebhookTask, said: dict[str, Any]) -> Answer:
        origin = origin_of(task.source)
        source = self._sources.get(origin)
        if source is None or task.source != f"{origin}{source.path}":
            raise ApplicationError(f"{origin} is not in the settings: add it to [[odoo]]")
        body = json.dumps({"deliveryId": str(task.delivery_id), **said})
        for token in source.tokens or (None,):
            try:
                answer = await call(
                    self._odoo,
                    "POST",
                    task.source,
                    timeout_seconds=ODOO_SECONDS,
                    max_bytes=4 * MAX_ANSWER_BYTES,
                    headers=_signed(task, body, token, source.signing_secrets),
                    content=body.encode(),
                )
            except (TimeoutError, httpx.HTTPError, BodyError) as error:
                # Its type alone: the text of some quotes the header, and the token in it.
                raise ApplicationError(f"Odoo does not answer: {type(error).__name__}") from None
            if answer.status != 401:
                break
        if answer.status != 200:
            raise ApplicationError(f"Odoo answers {answer.status}")
        return answer


async def _posted(
    client: httpx.AsyncClient, url: str, prepared: _Prepared
) -> tuple[int | None, str]:
    """The receiver's status, None without one, and the beginning of what it says.

    The status alone decides: what comes behind it may be any text, of any length, however slow.
    """
    status, body = None, bytearray()
    headers = {**ASKED_ENCODING, **outgoing_headers(), **prepared.headers}
    content = prepared.body.encode()
    try:
        async with (
            asyncio.timeout(RECEIVER_SECONDS),
            client.stream(
                "POST", url, headers=headers, content=content, follow_redirects=False
            ) as response,
        ):
            status = response.status_code
            async for chunk in response.aiter_raw():
                body += chunk[: MOST_SAID_BYTES - len(body)]
                if len(body) >= MOST_SAID_BYTES:
                    break
    except TimeoutError:
        why = f"no answer within {RECEIVER_SECONDS:.0f} s"
    except AddressError as error:
        # Its user reads the answer: what our own names lead to is not for him.
        logger.warning("a webhook is not sent: %s", error)
        why = "its address is not public"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        why = ""
    return status, why if status is None else body.decode("utf-8", "replace")


def _end_of(status: int | None) -> WebhookEnd:
    if status == _GONE:
        return WebhookEnd.GONE
    taken = status is not None and 200 <= status < 300
    return WebhookEnd.DELIVERED if taken else WebhookEnd.FAILED


def _signed(
    task: WebhookTask, body: str, token: str | None, secrets: Sequence[str]
) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if secrets:
        now, identity = datetime.now(UTC), f"{task.delivery_id}.{task.number}"
        signatures = [Webhook(secret).sign(identity, now, body) for secret in secrets]
        headers["webhook-id"] = identity
        headers["webhook-timestamp"] = str(int(now.timestamp()))
        headers["webhook-signature"] = " ".join(signatures)
    return headers
