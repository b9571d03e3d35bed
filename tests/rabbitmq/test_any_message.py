"""Whatever is published, the consumer settles it: a generation, or a dead letter as it came."""

from contextlib import suppress
from uuid import uuid4

from aio_pika import Message
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from starter.client import AsyncDuragenClient
from tests.rabbitmq.broker import Broker, consuming, settled
from tests.rabbitmq.server import RabbitServer
from tests.starter.any_messages import MESSAGES


async def taken(broker: Broker, message: Message) -> bool:
    """Publish it; False when the broker refuses it, as for a header `x-death` that is no list."""
    with suppress(*CONNECTION_EXCEPTIONS):
        async with broker.channel() as channel:
            exchange = await channel.get_exchange(broker.table().exchange, ensure=False)
            await exchange.publish(message, broker.table().requested_key)
            return True
    return False


@settings(
    derandomize=True,
    max_examples=5,
    deadline=None,
    phases=[Phase.generate],  # to make it smaller would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(messages=st.lists(MESSAGES, min_size=20, max_size=20))
async def test_any_messages(
    messages: list[Message], server: RabbitServer, client: AsyncDuragenClient
) -> None:
    """All are settled, by one consumer that goes on; what started nothing has a reason."""
    broker = Broker(server, uuid4().hex[:8])
    table = broker.table()
    async with consuming(table, client) as consumer:
        sent = [message.body for message in messages if await taken(broker, message)]
        assert len(sent) > len(messages) / 2
        await settled(broker, consumer)
        assert consumer.trouble is None
    letters = await broker.letters()
    assert all(letter.reason and letter.detail for letter in letters)
    assert all(letter.body in sent for letter in letters)
