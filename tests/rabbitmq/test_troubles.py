"""Whatever becomes of broker and Temporal: no request is lost, and the trouble has a clear word."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from temporalio.client import Client

from peers.rabbitmq import RabbitTable
from starter.client import AsyncDuragenClient
from tests.ports import free_port
from tests.rabbitmq.broker import Broker, consuming, process, running, settled, until
from tests.rabbitmq.test_requests import started
from tests.starter.entry_points import (
    make_event,
    temporal_server,
)
from tests.workflows.relay import Relay, Wire


async def all_started(temporal: Client, events: list[dict[str, Any]]) -> None:
    """Wait until each of them has started."""
    await asyncio.gather(*(started(temporal, event["requestId"]) for event in events))


async def declared(table: RabbitTable, client: AsyncDuragenClient) -> None:
    """Make exchange and queues, as the first consumer does."""
    async with consuming(table, client):
        pass


async def test_while_temporal_is_away_requests_wait_at_the_broker(
    broker: Broker, client: AsyncDuragenClient
) -> None:
    """No more than `prefetch` are in hand, none is settled; all start once it is back."""
    port, table = free_port(), broker.table(prefetch=4)
    await declared(table, client)
    events = [make_event() for _ in range(10)]
    there = AsyncDuragenClient(f"127.0.0.1:{port}", retry_seconds=(), timeout=2)
    async with running(table, there) as consumer:
        async with temporal_server(port):
            await until(lambda: consumer.trouble is None)
        for event in events:
            await broker.publish(event)
        await until(lambda: consumer.trouble is not None)
        assert await broker.left() == 6
        async with temporal_server(port) as back:
            await all_started(back.client, events)
            await settled(broker, consumer)
    assert await broker.letters() == []


async def test_what_was_held_for_too_long_goes_back_and_comes_again(
    broker: Broker, client: AsyncDuragenClient
) -> None:
    """It counts as given out once more, and no more often while Temporal stays away."""
    port, table = free_port(), broker.table(delivery_limit=1)
    await declared(table, client)
    there = AsyncDuragenClient(f"127.0.0.1:{port}", retry_seconds=(), timeout=2)
    events = [make_event() for _ in range(3)]
    async with running(table, there, hold_seconds=0) as consumer:
        async with temporal_server(port):
            await until(lambda: consumer.trouble is None)
        for event in events:
            await broker.publish(event)
        async with asyncio.timeout(100):
            while await broker.left() < 3 or not consumer.trouble:
                await asyncio.sleep(0.05)
        async with temporal_server(port) as back:
            await all_started(back.client, events)
    assert await broker.letters() == []


async def test_a_queue_that_was_deleted_is_made_again(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """The broker ends the consumer; it declares the queue and goes on."""
    table, event = broker.table(), make_event()
    async with consuming(table, client) as consumer:
        async with broker.channel() as channel:
            await channel.queue_delete(table.queue)
        await until(lambda: consumer.trouble is not None)
        await until(lambda: consumer.trouble is None)
        await broker.publish(event)
        await started(temporal, event["requestId"])


async def test_a_broker_that_dies_gives_out_what_was_in_hand(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """Requests that were published before are started after, each once."""
    table, events = broker.table(), [make_event() for _ in range(20)]
    await declared(table, client)
    await broker.server.restart()
    for event in events:
        await broker.publish(event)
    await broker.server.kill()
    async with consuming(table, client) as consumer:
        await all_started(temporal, events[:10])
        await broker.server.kill()
        await all_started(temporal, events)
        await until(lambda: consumer.trouble is None)
        later = make_event()
        await broker.publish(later)
        await started(temporal, later["requestId"])
        await settled(broker, consumer)
    assert await broker.letters() == []


async def test_what_is_missing_has_a_clear_word(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """A user, a virtual host, each right; with all of them there it consumes."""
    server, name, heard = broker.server, broker.name, list[str]()
    table = broker.table(url=server.url_of(name, "secret"))
    async with running(table, client) as consumer:

        async def says(words: str) -> None:
            await until(lambda: words in (consumer.trouble or ""))
            heard.append(str(consumer.trouble))

        await says(f"refuses the user '{name}': check rabbitmq.url")
        await server.ctl("add_user", name, "secret")
        await says("check the VHOST of rabbitmq.url")
        await server.ctl("set_permissions", name, "", "", "")
        await says(f"exchange '{name}.exchange'")
        assert "grant it with `rabbitmqctl set_permissions`" in heard[-1]
        await server.ctl("set_permissions", name, ".*", ".*", "")
        await says(f"{name}.")
        await server.ctl("set_permissions", name, ".*", ".*", ".*")
        await until(lambda: consumer.trouble is None)
        event = make_event()
        await broker.publish(event)
        await started(temporal, event["requestId"])
    assert not any("secret" in each for each in heard)


async def test_nothing_is_declared_where_an_operator_does_that(
    broker: Broker, client: AsyncDuragenClient
) -> None:
    """`declare = false` names what is missing."""
    async with running(broker.table(declare=False), client) as consumer:
        await until(lambda: f"no exchange '{broker.name}.exchange'" in (consumer.trouble or ""))
        assert "set rabbitmq.declare = true, or make it" in str(consumer.trouble)


async def test_a_queue_that_is_otherwise_is_named(
    broker: Broker, client: AsyncDuragenClient
) -> None:
    """A classic queue of that name is not taken over, and not deleted."""
    table = broker.table()
    async with broker.channel() as channel:
        await channel.declare_queue(table.queue, durable=True)
    async with running(table, client) as consumer:
        await until(lambda: "that is otherwise" in (consumer.trouble or ""))
        assert table.queue in str(consumer.trouble)


async def test_an_alarm_holds_up_dead_letters_and_no_request(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """A broker short of memory takes no message and still gives them out; then it has the rest."""
    table, event = broker.table(), make_event()
    await declared(table, client)
    await broker.publish(b"no JSON")
    await broker.publish(event)
    await broker.server.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        async with consuming(table, client, publish_seconds=1) as consumer:
            await started(temporal, event["requestId"])
            await until(lambda: "did not confirm a message within 1 s" in (consumer.trouble or ""))
            await broker.server.ctl("set_vm_memory_high_watermark", "0.4")
            async with asyncio.timeout(100):
                while not (letters := await broker.letters()):
                    await asyncio.sleep(0.1)
            await until(lambda: consumer.trouble is None)
    finally:
        await broker.server.ctl("set_vm_memory_high_watermark", "0.4")
    assert {letter.body for letter in letters} == {b"no JSON"}


async def test_a_line_that_went_silent_is_given_up(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """Neither end closes it, and no packet comes: heartbeats find out, and it connects anew."""
    here = f"127.0.0.1:{broker.server.port}"
    async with Relay(here) as relay:
        url = broker.server.url.replace(here, relay.address)
        table = broker.table(url=url, heartbeat_seconds=1)
        async with consuming(table, client) as consumer:
            relay.wire = Wire.FROZEN
            await until(lambda: consumer.trouble is not None)
            relay.wire = Wire.WHOLE
            await until(lambda: consumer.trouble is None)
            event = make_event()
            await broker.publish(event)
            await started(temporal, event["requestId"])


async def test_a_process_that_dies_between_two_lines_loses_nothing(
    broker: Broker, temporal: Client, client: AsyncDuragenClient, tmp_path: Path
) -> None:
    """`kill -9` again and again while requests come in: each is started, none is a dead letter."""
    table = broker.table()
    await declared(table, client)
    address = temporal.service_client.config.target_host
    events = [make_event() for _ in range(60)]
    async with process(table, address, tmp_path) as first:
        await asyncio.gather(*(broker.publish(event) for event in events[:30]))
        await started(temporal, events[0]["requestId"])
        first.kill()
        await first.wait()
    async with process(table, address, tmp_path) as second:
        await asyncio.gather(*(broker.publish(event) for event in events[30:]))
        await started(temporal, events[30]["requestId"])
        second.kill()
        await second.wait()
    events.append(make_event())
    await broker.publish(events[-1])
    async with process(table, address, tmp_path) as third:
        await all_started(temporal, events)
        third.send_signal(signal.SIGTERM)
        assert await third.wait() == 0
    # What it had not settled yet finds its workflow the next time.
    async with consuming(table, client) as last:
        await settled(broker, last)
    assert await broker.letters() == []
