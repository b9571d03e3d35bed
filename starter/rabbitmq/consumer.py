"""Consuming requests: each is started in Temporal and then acknowledged, or it is a dead letter.

While Temporal does not answer, nothing is acknowledged, and no more comes than `prefetch`: the rest
waits at the broker, which is made for that.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from opentelemetry.trace import SpanKind

from contracts.broker import DeadLetterReason
from peers.rabbitmq import BrokerError, RabbitTable, broker_errors, connected
from peers.rabbitmq_publisher import PUBLISH_SECONDS, Publisher
from starter.client import (
    AsyncDuragenClient,
    ConflictError,
    DuragenError,
    TooLargeError,
    ValidationError,
)
from starter.rabbitmq import topology
from starter.rabbitmq.dead_letters import dead
from starter.rabbitmq.reading import RefusedError, read_request, trace_headers
from starter.start import CallbackNotAllowedError, EntryPoint

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until the broker, or Temporal, is tried again; doubled each time."""

HOLD_SECONDS = 600.0
"""So long a request is kept in hand while Temporal is away. Then all go back to the queue, until
Temporal answers: RabbitMQ ends a consumer that settles nothing for half an hour, and counts how
often a message was given out."""

LEAVE_SECONDS = 20.0
"""For requests in hand when the process is to end; what is not settled then comes again."""

NAME = "duragen rabbitmq"


class Consumer:
    """One consumer of the queue of requests. Any number may run beside each other."""

    def __init__(
        self,
        table: RabbitTable,
        client: AsyncDuragenClient,
        entry_point: EntryPoint,
        *,
        hold_seconds: float = HOLD_SECONDS,
        publish_seconds: float = PUBLISH_SECONDS,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self._table = table
        self._client = client
        self._entry_point = entry_point
        self._hold_seconds = hold_seconds
        self._longest_pause = longest_pause
        self._publisher = Publisher(table, f"{NAME}: dead letters", publish_seconds)
        self._in_hand: set[asyncio.Task[None]] = set()
        self._give_back = asyncio.Event()
        self.trouble: str | None = "not connected yet"
        """Why nothing is consumed now; None while all is well."""

    @property
    def in_hand(self) -> int:
        """Requests that were given to us and are not settled."""
        return len(self._in_hand)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; go on when a broker or a Temporal that was away is back."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            began = time.monotonic()
            try:
                await self._client.ping()
                async with connected(self._table, NAME) as connection:
                    with broker_errors(self._table):
                        await self._session(connection, stop)
                pause = FIRST_PAUSE
            except (BrokerError, DuragenError) as error:
                self._note(str(error))
                if time.monotonic() - began > self._longest_pause:
                    pause = FIRST_PAUSE  # it went well for a while
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
                pause = min(2 * pause, self._longest_pause)
        await self._publisher.close()

    def _note(self, trouble: str | None) -> None:
        if trouble and trouble != self.trouble:
            logger.warning("requests wait at the broker: %s", trouble)
        self.trouble = trouble

    async def _session(self, connection: AbstractConnection, stop: asyncio.Event) -> None:
        """Consume until `stop`, the consumer's end, or Temporal has been away for too long."""
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=self._table.prefetch)
        queue = await topology.ready(channel, self._table)
        ended, self._give_back = asyncio.Event(), asyncio.Event()
        channel.close_callbacks.add(lambda *_: ended.set())
        # Of a queue that was deleted: aio_pika itself says nothing of it.
        below = await channel.get_underlay_channel()
        below.on_consumer_cancel_callbacks.add(lambda _: ended.set())
        tag = await queue.consume(self._take)
        self._note(None)
        logger.info("requests are consumed from %s at %s", self._table.queue, self._table.place)
        try:
            await _first_of(stop.wait(), ended.wait(), self._give_back.wait())
            if stop.is_set():
                await self._finish(queue, tag)
        finally:
            # Unsettled ones go back to the queue with the channel, which is closed now.
            for task in self._in_hand:
                task.cancel()
            await asyncio.gather(*self._in_hand, return_exceptions=True)
        if ended.is_set():
            # Its queue was deleted, or the connection was lost: the next try says which.
            raise BrokerError(f"{self._table.place} has ended the consumer")

    async def _finish(self, queue: AbstractQueue, tag: str) -> None:
        """Take nothing new, and settle what is in hand."""
        await queue.cancel(tag)
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=LEAVE_SECONDS)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._settle(message))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _settle(self, message: AbstractIncomingMessage) -> None:
        settle = message.ack
        try:
            if not await self._dealt_with(message):
                # It goes back with the channel: by itself it would come again at once.
                self._give_back.set()
                return
        except Exception:
            # A fault of ours. After `delivery_limit` times the broker makes a dead letter of it.
            logger.exception("a request met an error, and comes again")
            await asyncio.sleep(FIRST_PAUSE)
            settle = message.nack
        # Not settled when the connection is lost just now: then it comes again.
        with suppress(*CONNECTION_EXCEPTIONS):
            await settle()

    async def _dealt_with(self, message: AbstractIncomingMessage) -> bool:
        """Started, or a dead letter; False when that was not possible for too long."""
        pause, give_back_at = FIRST_PAUSE, time.monotonic() + self._hold_seconds
        while True:
            try:
                await self._start_or_bury(message)
            except (BrokerError, DuragenError) as error:
                self._note(str(error))
            else:
                self._note(None)
                return True
            if time.monotonic() + pause > give_back_at:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause)

    async def _start_or_bury(self, message: AbstractIncomingMessage) -> None:
        """Raises BrokerError, and DuragenError when it is worth another try."""
        try:
            await self._start(message)
        except RefusedError as refused:
            logger.warning("a request is a dead letter: %s (%s)", refused.reason, refused.detail)
            letter = dead(message, refused.reason, refused.detail)
            exchange, key = self._table.dead_letter_exchange, message.routing_key or ""
            await self._publisher.publish(exchange, key, letter)

    async def _start(self, message: AbstractIncomingMessage) -> None:
        table = self._table
        event = read_request(message, table)
        try:
            await self._entry_point.start(
                event,
                owner=table.owner,
                caller=f"RabbitMQ, exchange {table.exchange}",
                span=f"process {table.queue}",
                headers=trace_headers(message),
                kind=SpanKind.CONSUMER,
            )
        except CallbackNotAllowedError as error:
            raise RefusedError(DeadLetterReason.CALLBACK_NOT_ALLOWED, str(error)) from None
        except ConflictError as error:
            raise RefusedError(DeadLetterReason.CONFLICT, str(error)) from None
        except TooLargeError as error:
            raise RefusedError(DeadLetterReason.TOO_LARGE, str(error)) from None
        except ValidationError as error:
            raise RefusedError(DeadLetterReason.MALFORMED, str(error)) from None


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return when one of them has ended; the others are canceled."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
