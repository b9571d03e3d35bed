"""RabbitMQ away, or killed again and again under load; and thousands of requests that wait there.

`make test-rabbitmq-full` has more of both, by `REQUESTS` and `WAITING`.
"""

import asyncio
import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from aio_pika import Message
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from temporalio.client import Client

from contracts.broker import EXCHANGE, JOB_COMPLETED
from deploy.local.stack.config import CALLBACK_PATH
from starter.client import AsyncDuragenClient
from tests.chaos.evidence import read_sandboxes
from tests.rabbitmq.broker import Broker, consuming, next_of, process, settled
from tests.rabbitmq.world import LISTENING, World
from tests.starter.entry_points import make_event

REQUESTS = int(os.environ.get("REQUESTS", "60"))
WAITING = int(os.environ.get("WAITING", "500"))
KILLS = 3
STEADY_SECONDS = 5
"""From when the broker is ready to when it is killed again."""

GROWTH_BYTES = 40_000_000
"""What a consumer may take for the requests in hand, however many wait at the broker."""


async def test_nothing_is_lost_and_nothing_is_made_twice(world: World) -> None:
    """Each request ends with one image that was paid for once, and its outcome is heard."""
    server, events = world.broker.server, [world.event() for _ in range(REQUESTS)]
    for event in events:
        await world.reserve(event)
    async with world.broker.channel() as channel:
        quorum = {"x-queue-type": "quorum"}
        queue = await channel.declare_queue("under-load", durable=True, arguments=quorum)
        await queue.bind(EXCHANGE, JOB_COMPLETED)
    await server.restart()
    async with asyncio.TaskGroup() as group:
        group.create_task(_killed(world))
        pause = KILLS * STEADY_SECONDS / REQUESTS
        for number, event in enumerate(events):
            group.create_task(_published(world, event, number * pause))
    for event in events:
        await world.state_of(event, "completed")
    found = await asyncio.to_thread(read_sandboxes, world.stack.home)
    paid = {event["requestId"]: found.paid[event["correlationId"]] for event in events}
    states = Counter(found.records[event["requestId"]].state for event in events)
    assert states == {"completed": REQUESTS}
    assert Counter(paid.values()) == {1: REQUESTS}
    assert await _heard(world) == {f"{event['requestId']}.completed" for event in events}


async def _killed(world: World) -> None:
    """Five seconds after each time that the broker is ready."""
    for _ in range(KILLS):
        await asyncio.sleep(STEADY_SECONDS)
        await world.broker.server.kill()


async def _published(world: World, event: dict[str, Any], after: float) -> None:
    """As Odoo's outbox does it: again, until the broker has confirmed it."""
    await asyncio.sleep(after)
    while True:
        with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
            async with asyncio.timeout(10):
                await world.publish(event)
                return
        await asyncio.sleep(0.5)


async def _heard(world: World) -> set[str | None]:
    """The outcomes in the queue, by `message_id`."""
    async with world.broker.channel() as channel:
        queue = await channel.get_queue("under-load", ensure=False)
        found = set()
        while message := await queue.get(fail=False, no_ack=True):
            found.add(message.message_id)
        await queue.delete(if_unused=False, if_empty=False)
        return found


async def test_while_the_broker_is_away_generations_go_on(world: World) -> None:
    """Odoo gets outcomes by HTTP; what waits for the broker comes when it is back."""
    by_http, by_broker = world.event(), world.event(callbackUrl=LISTENING + CALLBACK_PATH)
    await world.reserve(by_http)
    async with world.broker.channel() as channel:
        queue = await channel.declare_queue("listener", durable=True)
        await queue.bind(EXCHANGE, JOB_COMPLETED)
    server = world.broker.server
    await asyncio.to_thread(server.supervisor.stop)
    for event in (by_http, by_broker):
        answer = await world.http.post(
            f"{world.stack.gateway_url}/v1/generations", json=event, headers=world.key
        )
        assert answer.status_code == 202
    await world.state_of(by_http, "announcing")
    await world.state_of(by_broker, "parked")
    await server.restart()
    async with world.broker.channel() as channel:
        queue = await channel.declare_queue("listener", passive=True)
        heard = [await next_of(queue), await next_of(queue)]
        await queue.delete(if_empty=False)
    ids = {f"{event['requestId']}.completed" for event in (by_http, by_broker)}
    assert {message.message_id for message in heard} == ids
    await world.state_of(by_http, "completed")
    await world.state_of(by_broker, "completed")


async def test_thousands_that_wait_are_drained_in_flat_memory(
    broker: Broker, temporal: Client, client: AsyncDuragenClient, tmp_path: Path
) -> None:
    """The consumer has `prefetch` of them in hand, and no more."""
    table = broker.table()
    async with consuming(table, client):
        pass
    async with broker.channel() as channel:
        exchange = await channel.get_exchange(table.exchange, ensure=False)
        await asyncio.gather(*(_waits(exchange, table.requested_key) for _ in range(WAITING)))
    query = "WorkflowType = 'Generation'"
    before = (await temporal.count_workflows(query)).count
    address = temporal.service_client.config.target_host
    async with process(table, address, tmp_path) as consumer:
        watched = psutil.Process(consumer.pid)
        while (await temporal.count_workflows(query)).count < before + WAITING // 10:
            await asyncio.sleep(0.1)
        early = peak = watched.memory_info().rss
        while (await temporal.count_workflows(query)).count < before + WAITING:
            peak = max(peak, watched.memory_info().rss)
            await asyncio.sleep(0.1)
    assert peak - early < GROWTH_BYTES
    async with consuming(table, client) as last:
        await settled(broker, last)  # what was started, and not acknowledged yet
    assert await broker.letters() == []


async def _waits(exchange: Any, key: str) -> None:
    await exchange.publish(Message(json.dumps(make_event()).encode(), message_id="m"), key)
