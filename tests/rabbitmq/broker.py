"""What tests do at the broker as somebody else's program would: publish, listen, look."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import aio_pika
import tomli_w
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from contracts.callbacks import CALLBACK_PATHS
from deploy.local.stack.layout import environment_of_part
from peers.rabbitmq import RabbitTable
from starter.client import AsyncDuragenClient
from starter.rabbitmq.consumer import Consumer
from starter.rabbitmq.dead_letters import DeadLetter, dead_letters
from starter.start import EntryPoint
from tests.rabbitmq.server import RabbitServer
from tests.starter.entry_points import ODOO

PATIENCE_SECONDS = 100
"""For what happens within seconds unless it never does."""


class Broker(NamedTuple):
    """A RabbitMQ, and the names of one test there."""

    server: RabbitServer
    name: str

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel of a connection of its own: what tests do outlives no broker."""
        connection = await aio_pika.connect(self.server.url)
        async with connection, connection.channel() as channel:
            yield channel

    def table(self, **changes: Any) -> RabbitTable:
        """The settings of this test."""
        name = self.name
        names = {
            "url": self.server.url,
            "exchange": f"{name}.exchange",
            "queue": f"{name}.requests",
            "dead_letter_exchange": f"{name}.dead",
            "dead_letter_queue": f"{name}.dead-letters",
            "gateway_url": "https://duragen.example.com",
        }
        return RabbitTable.model_validate(names | changes)

    async def publish(self, body: Any, key: str | None = None, **properties: Any) -> None:
        """A message as others send it; a `body` that is no bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        properties = {"message_id": str(uuid4()), "content_type": "application/json"} | properties
        message = aio_pika.Message(raw, **properties)
        async with self.channel() as channel:
            exchange = await channel.get_exchange(self.table().exchange, ensure=False)
            await exchange.publish(message, key or self.table().requested_key)

    async def letters(self, **changes: Any) -> list[DeadLetter]:
        """The dead letters that are there now."""
        async with dead_letters(self.table(**changes)) as found:
            return [each async for each in found.all()]

    async def left(self) -> int:
        """Requests in the queue, without those that somebody has in hand."""
        # Not from rabbitmqctl, whose figures of a quorum queue are some seconds old.
        async with self.channel() as channel:
            found = await channel.declare_queue(self.table().queue, passive=True)
            return found.declaration_result.message_count or 0


@asynccontextmanager
async def running(
    table: RabbitTable, client: AsyncDuragenClient, **options: Any
) -> AsyncIterator[Consumer]:
    """The consumer in this process, whatever it meets, to the end of the block."""
    entry_point = EntryPoint(client, options.pop("callbacks", {ODOO: CALLBACK_PATHS}))
    consumer = Consumer(table, client, entry_point, **{"longest_pause": 1} | options)
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    try:
        yield consumer
    finally:
        stop.set()
        await task


@asynccontextmanager
async def consuming(
    table: RabbitTable, client: AsyncDuragenClient, **options: Any
) -> AsyncIterator[Consumer]:
    """The same from when it consumes."""
    async with running(table, client, **options) as consumer:
        await until(lambda: consumer.trouble is None)
        yield consumer


async def settled(broker: Broker, consumer: Consumer) -> None:
    """Wait until this consumer has settled every request, also what another one left behind."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await broker.left() or consumer.in_hand:
            await asyncio.sleep(0.05)


async def until(so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not so():
            await asyncio.sleep(0.02)


async def next_of(queue: Any) -> AbstractIncomingMessage:
    """The next message of a queue, acknowledged."""
    async with asyncio.timeout(PATIENCE_SECONDS), queue.iterator() as messages:
        async for message in messages:
            await message.ack()
            return message
    raise AssertionError("the queue has ended")


@asynccontextmanager
async def process(
    table: RabbitTable, temporal_address: str, folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`duragen rabbitmq` with these settings."""
    tables = table.model_dump(mode="json", exclude_none=True)
    tables |= {"url": table.url.get_secret_value(), "health_port": 0}
    config = folder / "duragen.toml"
    config.write_text(tomli_w.dumps({"rabbitmq": tables, "odoo": [{"origin": ODOO}]}))
    environment = {"DURAGEN_CONFIG": str(config), "TEMPORAL_ADDRESS": temporal_address}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.rabbitmq"), env=environment_of_part(environment)
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
