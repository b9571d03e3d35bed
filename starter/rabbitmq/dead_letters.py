"""Dead letters: requests that started nothing, kept with the reason until a person decides."""

import hashlib
import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from contracts.broker import DETAIL_HEADER, REASON_HEADER, DeadLetterReason
from peers.rabbitmq import BrokerError, RabbitTable, broker_errors, connected
from peers.rabbitmq_publisher import Publisher
from starter.rabbitmq.reading import text_header

ID_CHARACTERS = 12
MOST_IN_32_BITS = 3.4e38
_BROKERS_OWN = "x-death"


class DeadLetter(NamedTuple):
    """One of them. `id` is made of the message itself: a copy has the same."""

    id: str
    reason: str
    detail: str
    message_id: str | None
    correlation_id: str | None
    routing_key: str
    at: datetime | None
    headers: dict[str, Any]
    body: bytes

    @classmethod
    def of(cls, message: AbstractIncomingMessage) -> "DeadLetter":
        """From the queue; one that the broker has put there says so in its own headers."""
        reason = text_header(message.headers, REASON_HEADER)
        detail = text_header(message.headers, DETAIL_HEADER) or ""
        if reason is None:
            reason, detail = _of_broker(message.headers)
        identity = hashlib.sha256(b"\0".join(_parts(message))).hexdigest()
        return cls(
            identity[:ID_CHARACTERS],
            reason,
            detail,
            message.message_id,
            message.correlation_id,
            message.routing_key or "",
            message.timestamp,
            dict(message.headers),
            message.body,
        )


def _parts(message: AbstractIncomingMessage) -> list[bytes]:
    return [(message.message_id or "").encode(errors="replace"), message.body]


def _of_broker(headers: dict[str, Any]) -> tuple[str, str]:
    deaths = headers.get(_BROKERS_OWN)
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(first, dict):
        return "unknown", "it came here without a reason"
    if first.get("reason") == DeadLetterReason.DELIVERY_LIMIT:
        return (
            DeadLetterReason.DELIVERY_LIMIT,
            "it was given out again and again, and nobody settled it: look at the consumers' log",
        )
    return str(first.get("reason")), f"the broker took it from the queue {first.get('queue')}"


def dead(message: AbstractIncomingMessage, reason: DeadLetterReason, detail: str) -> Message:
    """What is published to the dead-letter exchange: the message as it came, and why."""
    return _copy(message, {REASON_HEADER: str(reason), DETAIL_HEADER: detail[:1_000]})


def alive(message: AbstractIncomingMessage) -> Message:
    """The message as it was when it first came."""
    copy = _copy(message, {})
    for name in [name for name in copy.headers if _is_of_death(name)]:
        del copy.headers[name]
    return copy


def _is_of_death(name: str) -> bool:
    ours = name in {REASON_HEADER, DETAIL_HEADER, "x-delivery-count", "x-acquired-count"}
    return ours or name == _BROKERS_OWN or name.startswith(("x-first-death-", "x-last-death-"))


def _copy(message: AbstractIncomingMessage, more: dict[str, Any]) -> Message:
    return Message(
        message.body,
        headers={name: _sendable(value) for name, value in message.headers.items()} | more,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        # The library knows a returned message by it; a message without one gets its digest.
        message_id=message.message_id or hashlib.sha256(message.body).hexdigest(),
        correlation_id=message.correlation_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
        delivery_mode=DeliveryMode.PERSISTENT,
    )


class Sent(NamedTuple):
    """A dead letter that an operator has decided about; `trouble` is why it is still there."""

    letter: DeadLetter
    trouble: str = ""


class DeadLetters:
    """The queue of dead letters, for an operator. Methods raise BrokerError."""

    def __init__(self, table: RabbitTable, queue: AbstractQueue, publisher: Publisher) -> None:
        self._table = table
        self._queue = queue
        self._publisher = publisher

    async def all(self) -> AsyncIterator[DeadLetter]:
        """Each that is there now, the oldest first; they stay."""
        async for letter, _ in self._got():
            yield letter

    async def requeue(self, ids: Collection[str] | None) -> AsyncIterator[Sent]:
        """Publish these (None: all) as requests again; each that is in a queue is gone here."""
        table = self._table
        async for letter, message in self._got():
            if ids is not None and letter.id not in ids:
                continue
            try:
                await self._publisher.publish(table.exchange, table.requested_key, alive(message))
            except BrokerError as error:
                yield Sent(letter, str(error))
                continue
            with broker_errors(table):
                await message.ack()
            yield Sent(letter)

    async def drop(self, ids: Collection[str]) -> AsyncIterator[Sent]:
        """Delete these for ever."""
        async for letter, message in self._got():
            if letter.id in ids:
                with broker_errors(self._table):
                    await message.ack()
                yield Sent(letter)

    async def _got(self) -> AsyncIterator[tuple[DeadLetter, AbstractIncomingMessage]]:
        # No more than there are now: a request that is refused again comes back here.
        for _ in range(self._queue.declaration_result.message_count or 0):
            with broker_errors(self._table):
                message = await self._queue.get(fail=False)
            if message is None:
                return
            yield DeadLetter.of(message), message


def _sendable(value: Any) -> Any:
    """The library reads 64-bit numbers and writes 32-bit ones: what does not fit becomes a text."""
    if isinstance(value, dict):
        return {name: _sendable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_sendable(each) for each in value]
    if isinstance(value, float) and math.isfinite(value) and abs(value) > MOST_IN_32_BITS:
        return str(value)
    return value


@asynccontextmanager
async def dead_letters(table: RabbitTable) -> AsyncIterator[DeadLetters]:
    """The dead letters. What was got and not settled goes back at the end. Raises BrokerError."""
    name = "duragen deadletters"
    async with connected(table, name) as connection:
        with broker_errors(table):
            channel = await connection.channel()
            queue = await channel.declare_queue(table.dead_letter_queue, passive=True)
        publisher = Publisher(table, name)
        try:
            yield DeadLetters(table, queue, publisher)
        finally:
            await publisher.close()
