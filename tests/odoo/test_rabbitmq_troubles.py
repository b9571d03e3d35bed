"""RabbitMQ between Odoo and Duragen, and what breaks there; not in every run: a minute or two."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import aio_pika
import httpx
import pytest

from contracts.broker import EXCHANGE, JOB_FAILED
from tests.odoo.desk import CAPTURED, Desk, hole, until
from tests.odoo.lone import REQUEST
from tests.odoo.people import PATIENCE_SECONDS
from tests.rabbitmq.server import RabbitServer


def test_a_broker_that_is_away(at_broker: Desk, broker: RabbitServer) -> None:
    """The request waits in the outbox; once the broker is back it is started, once."""
    broker.supervisor.stop()
    try:
        made = at_broker.asks()
        assert at_broker.state(made) == "requested"
        [[why, published]] = _row(at_broker, made, "start_error, maybe_published")
        assert why.startswith("RabbitMQ at 127.0.0.1:")
        assert published == "f"
    finally:
        broker.supervisor.start()
        broker.supervisor.wait()
    at_broker.outbox_takes(made)
    at_broker.saves_settings()  # listening, too, would begin again within minutes only
    at_broker.ended(made, "completed")
    at_broker.assert_made_once(made)


def test_a_duragen_that_is_away(at_broker: Desk) -> None:
    """The request waits at the broker, and nobody's page; Duragen starts it when it is back."""
    with _away(at_broker):
        made = at_broker.asks()
        assert at_broker.state(made) == "started"
        assert at_broker.known(made)["status"] == 404
    at_broker.ended(made, "completed")
    at_broker.assert_made_once(made)


def test_canceled_while_it_waits_at_the_broker(at_broker: Desk) -> None:
    """It stays open until Duragen has read it, and is canceled then, not released before."""
    with at_broker.images_taking(60):
        with _away(at_broker):
            made = at_broker.asks()
            at_broker.admin(REQUEST, "action_cancel", [made["id"]])
            at_broker.runs("cron_start")
            assert at_broker.state(made) == "started"
            assert at_broker.ledger(made) == CAPTURED[:1]
        until(lambda: at_broker.known(made).get("status") != 404)
        at_broker.outbox_passes_on(made)
        at_broker.ended(made, "canceled")
    assert at_broker.paid(made) <= 1


def test_odoo_dies_while_it_publishes(at_broker: Desk) -> None:
    """Nobody knows whether the broker has it: canceling it then starts it first, and cancels it."""
    before = {row[0] for row in at_broker.sql("SELECT id FROM duragen_generation_request")}
    with hole() as (address, called), at_broker.set_up(rabbitmq_url=f"amqp://a:b@{address}/"):
        asking = threading.Thread(target=_and_nothing_comes_back, args=(at_broker,))
        asking.start()
        assert called.wait(PATIENCE_SECONDS)
        at_broker.odoo.kill()
        asking.join()
        at_broker.odoo.supervisor.wait_ready(PATIENCE_SECONDS)
    rows = at_broker.sql(
        "SELECT id, state, request_uuid, correlation_uuid, maybe_published"
        " FROM duragen_generation_request"
    )
    [[number, state, request_id, correlation_id, published]] = [
        row for row in rows if row[0] not in before
    ]
    assert (state, published) == ("requested", "t")
    made = {"id": int(number), "request_uuid": request_id, "correlation_uuid": correlation_id}
    with at_broker.images_taking(60):
        at_broker.admin(REQUEST, "action_cancel", [made["id"]])
        until(lambda: at_broker.known(made).get("status") != 404)
        at_broker.outbox_passes_on(made)
        at_broker.ended(made, "canceled")


@pytest.mark.parametrize("signed", [False, True])
def test_forged_outcomes_are_refused(at_broker: Desk, broker: RabbitServer, signed: bool) -> None:
    """Whoever may publish at the broker can end nobody's generation; what was refused is kept."""
    with _away(at_broker):
        made = at_broker.asks()
        forged = {
            "requestId": made["request_uuid"],
            "correlationId": made["correlation_uuid"],
            "status": "failed",
            "errorMessage": "forged",
            "errorCode": "INTERNAL",
        }
        headers = {"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
        refused = at_broker.outcome_queue + ".refused"
        identity = str(uuid4())
        asyncio.run(_publish(broker.url, forged, identity, headers if signed else {}))
        assert asyncio.run(_found(broker.url, refused)) == identity
        assert at_broker.state(made) == "started"
    at_broker.ended(made, "completed")
    at_broker.assert_made_once(made)


def test_settings_that_stand_in_the_way_lose_nothing(at_broker: Desk) -> None:
    """While the gateway's address is wrong the outcome stays in the queue; then it is applied."""
    words = "an outcome from RabbitMQ waits: the gateway did not answer"
    with at_broker.set_up(gateway_url="http://127.0.0.1:1"):
        made = at_broker.asks()
        at_broker.stack_has(made, "completed")
        until(lambda: words in at_broker.odoo.log.read_text())
        assert at_broker.state(made) == "started"
    at_broker.ended(made, "completed")
    at_broker.assert_made_once(made)


def test_headers_that_nobody_can_decode(at_broker: Desk, broker: RabbitServer) -> None:
    """Such a message is passed over; what comes behind it is applied."""
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        asyncio.run(_publish(broker.url, {}, str(uuid4()), {"deep": deep}))
    finally:
        sys.setrecursionlimit(before)
    made = at_broker.asks()
    at_broker.ended(made, "completed")
    at_broker.assert_made_once(made)


def test_nobody_takes_requests(at_broker: Desk) -> None:
    """Without a queue for it the broker returns the request, and it waits in the outbox."""
    with at_broker.set_up(rabbitmq_exchange="amq.topic"):
        made = at_broker.asks()
        [[why, published]] = _row(at_broker, made, "start_error, maybe_published")
        assert "start `duragen rabbitmq`, which makes one" in why
        assert (at_broker.state(made), published) == ("requested", "f")
    at_broker.outbox_takes(made)
    at_broker.ended(made, "completed")


@contextmanager
def _away(desk: Desk) -> Iterator[None]:
    consumer = desk.stack.supervisor("rabbitmq")
    consumer.stop()
    try:
        yield
    finally:
        consumer.start()
        consumer.wait()


def _and_nothing_comes_back(desk: Desk) -> None:
    with suppress(httpx.HTTPError):
        desk.submits()


def _row(desk: Desk, made: dict[str, Any], columns: str) -> list[list[str]]:
    return desk.sql(f"SELECT {columns} FROM duragen_generation_request WHERE id = {made['id']}")


async def _publish(url: str, body: Any, identity: str, headers: dict[str, Any]) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        message = aio_pika.Message(json.dumps(body).encode(), message_id=identity, headers=headers)
        await exchange.publish(message, JOB_FAILED)


async def _found(url: str, queue: str) -> str | None:
    async with asyncio.timeout(PATIENCE_SECONDS), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        waiting = await channel.get_queue(queue, ensure=False)
        while not (message := await waiting.get(fail=False)):
            await asyncio.sleep(0.1)
        await message.ack()
        return message.message_id
