"""Publishing to RabbitMQ: confirmed by the broker, and into at least one queue, or an error."""

import asyncio

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import PublishError

from peers.rabbitmq import BrokerError, RabbitTable, broker_errors, close, confirming, connect

PUBLISH_SECONDS = 20.0
"""For one message, with a new connection where there is none."""


class Publisher:
    """One connection for as long as it works, made at the first message and after each fault.

    Many messages may be under way at a time.
    """

    def __init__(self, table: RabbitTable, name: str, seconds: float = PUBLISH_SECONDS) -> None:
        self._table = table
        self._name = name
        self._seconds = seconds
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def publish(self, exchange: str, routing_key: str, message: Message) -> None:
        """Return when the broker has taken the message for at least one queue.

        `message` must have a `message_id`. Published twice when its confirmation was lost: the same
        `message_id` says so. Raises BrokerError.
        """
        table, channel = self._table, None
        try:
            with broker_errors(table):
                async with asyncio.timeout(self._seconds):
                    channel = await self._opened()
                    to = await _exchange(channel, exchange)
                    await to.publish(message, routing_key, mandatory=True)
        except BrokerError as error:
            if isinstance(error.__cause__, PublishError):
                raise BrokerError(
                    f"{table.place}: no queue takes {routing_key!r} from the exchange {exchange!r}:"
                    " bind one to it"
                ) from error
            # It may be blocked, half-open or closed: the next message finds out with a new one.
            if channel is self._channel:
                await self.close()
            if channel and isinstance(error.__cause__, TimeoutError):
                raise BrokerError(
                    f"{table.place} did not confirm a message within {self._seconds:g} s: is its"
                    " memory or disk alarm on (`rabbitmqctl status`)?"
                ) from error
            raise

    async def close(self) -> None:
        """Close the connection; the next message opens another one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection:
            await close(connection)

    async def _opened(self) -> AbstractChannel:
        async with self._connecting:
            if self._channel is None or self._channel.is_closed:
                await self.close()
                self._connection = await connect(self._table, self._name)
                self._channel = await confirming(self._connection)
            return self._channel


async def _exchange(channel: AbstractChannel, name: str) -> AbstractExchange:
    if not name:
        return channel.default_exchange
    # Not looked up: an exchange that is missing closes the channel with an error that says so.
    return await channel.get_exchange(name, ensure=False)
