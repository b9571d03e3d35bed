"""What must be at the broker: an exchange, the queue of requests, and where dead letters go."""

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractQueue

from peers.rabbitmq import RabbitTable

_UNLIMITED = 2**31 - 1
"""Dead letters are given out each time they are listed; RabbitMQ 4 would drop them after 20."""


async def ready(channel: AbstractChannel, table: RabbitTable) -> AbstractQueue:
    """The queue of requests, with all that belongs to it; made where `declare` allows that.

    Raises the library's errors.
    """
    there = not table.declare
    requests = await channel.declare_exchange(
        table.exchange, ExchangeType.TOPIC, durable=True, passive=there
    )
    dead = await channel.declare_exchange(
        table.dead_letter_exchange, ExchangeType.TOPIC, durable=True, passive=there
    )
    letters = await channel.declare_queue(
        table.dead_letter_queue,
        durable=True,
        passive=there,
        arguments={"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED},
    )
    queue = await channel.declare_queue(
        table.queue,
        durable=True,
        passive=there,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": table.delivery_limit,
            "x-dead-letter-exchange": table.dead_letter_exchange,
            # A dead letter leaves this queue only once that one has it, which needs the second.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )
    if not there:
        await letters.bind(dead, "#")
        await queue.bind(requests, table.requested_key)
    return queue
