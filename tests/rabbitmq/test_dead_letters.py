"""`duragen deadletters`: what started nothing is seen, sent again once it can start, or dropped."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from temporalio.client import Client

from peers.rabbitmq import RabbitTable
from starter.client import AsyncDuragenClient
from tests.rabbitmq.broker import Broker, consuming
from tests.rabbitmq.test_requests import started
from tests.starter.entry_points import Done, duragen, make_event
from tests.starter.hostile import HOSTILE, faults_of

ELSEWHERE = "https://elsewhere.example.com/duragen/v1/callback"


class Operator:
    """Somebody with the settings of one test, and a terminal."""

    def __init__(self, table: RabbitTable, folder: Path) -> None:
        tables = table.model_dump(mode="json", exclude_none=True)
        self._config = folder / "duragen.toml"
        url = table.url.get_secret_value()
        self._config.write_text(tomli_w.dumps({"rabbitmq": tables | {"url": url}}))

    async def deadletters(self, *arguments: str) -> Done:
        """The command."""
        return await duragen("deadletters", *arguments, DURAGEN_CONFIG=str(self._config))

    async def listed(self) -> list[dict[str, Any]]:
        """`list --json`."""
        done = await self.deadletters("list", "--json")
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def operator(broker: Broker, tmp_path: Path) -> Operator:
    """With the broker's settings."""
    return Operator(broker.table(), tmp_path)


async def buried(broker: Broker, client: AsyncDuragenClient, *bodies: Any) -> None:
    """Have these refused by the consumer."""
    async with consuming(broker.table(), client):
        for number, body in enumerate(bodies):
            await broker.publish(body, message_id=f"m-{number}")
        async with asyncio.timeout(100):
            while len(await broker.letters()) < len(bodies):
                await asyncio.sleep(0.05)


async def test_they_are_listed_and_shown(
    broker: Broker, client: AsyncDuragenClient, operator: Operator
) -> None:
    """A line for each with its reason; the whole message on request; they stay where they are."""
    event = make_event(callbackUrl=ELSEWHERE)
    await buried(broker, client, event, b"no JSON \x1b[31m")
    done = await operator.deadletters("list")
    assert done.code == 0
    assert "2 dead letters" in done.out
    foreign, broken = await operator.listed()
    assert (foreign["reason"], broken["reason"]) == ("callback_not_allowed", "malformed")
    assert (foreign["messageId"], broken["messageId"]) == ("m-0", "m-1")
    assert all(each["id"] in done.out for each in (foreign, broken))
    shown = await operator.deadletters("show", foreign["id"])
    assert event["requestId"] in shown.out
    shown = await operator.deadletters("show", broken["id"])
    assert "no JSON" in shown.out
    assert "\x1b" not in shown.out
    assert len(await operator.listed()) == 2


async def test_what_a_letter_says_obeys_nobody(
    broker: Broker, client: AsyncDuragenClient, operator: Operator
) -> None:
    """Its id, its headers and its body are shown plain, each on its line."""
    text = HOSTILE.replace("\U000e0041", "")[:200]
    async with consuming(broker.table(), client):
        await broker.publish(HOSTILE.encode(), message_id=text, headers={text[:60]: text})
        async with asyncio.timeout(100):
            while not (letters := await broker.letters()):
                await asyncio.sleep(0.05)
    for way in (["list"], ["show", letters[0].id]):
        for form in ([], ["--json"]):
            done = await operator.deadletters(*way, *form)
            assert (done.code, faults_of(done.out + done.err)) == (0, []), done.out
            assert "FORGED" in done.out


async def test_requeued_it_starts_once_it_can(
    broker: Broker, temporal: Client, client: AsyncDuragenClient, operator: Operator
) -> None:
    """It comes to the consumer as it first came; the other one stays."""
    event = make_event(callbackUrl=ELSEWHERE)
    await buried(broker, client, event, b"no JSON")
    foreign, broken = await operator.listed()
    done = await operator.deadletters("requeue", foreign["id"])
    assert (done.code, done.out.splitlines()[-1]) == (0, "1 in all, 0 of them still there")
    origin = ELSEWHERE.removesuffix("/duragen/v1/callback")
    allowed = {origin: ("/duragen/v1/callback",)}
    async with consuming(broker.table(), client, callbacks=allowed):
        assert await started(temporal, event["requestId"]) == event
    assert [each["id"] for each in await operator.listed()] == [broken["id"]]


async def test_requeued_all_of_those_that_are_refused_again_come_back_once(
    broker: Broker, client: AsyncDuragenClient, operator: Operator
) -> None:
    """The command ends, although a consumer refuses as fast as it sends."""
    await buried(broker, client, *(f"no JSON {number}".encode() for number in range(5)))
    before = await operator.listed()
    async with consuming(broker.table(), client):
        done = await operator.deadletters("requeue", "--all")
        assert done.out.splitlines()[-1] == "5 in all, 0 of them still there"
        async with asyncio.timeout(100):
            while len(await broker.letters()) < 5:
                await asyncio.sleep(0.05)
    after = await operator.listed()
    assert {each["id"] for each in after} == {each["id"] for each in before}


async def test_dropped_they_are_gone(
    broker: Broker, client: AsyncDuragenClient, operator: Operator
) -> None:
    """Only those that are named."""
    await buried(broker, client, b"no JSON", b"none either")
    first, second = await operator.listed()
    assert (await operator.deadletters("drop", first["id"])).code == 0
    assert [each["id"] for each in await operator.listed()] == [second["id"]]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show",), 2),
        (("drop",), 2),
        (("requeue",), 2),
        (("list", "x"), 2),
        (("drop", "--all"), 2),
        (("show", "0123456789ab"), 4),
        (("requeue", "0123456789ab"), 4),
    ],
)
async def test_what_cannot_be_done_has_an_exit_code(
    arguments: tuple[str, ...],
    code: int,
    broker: Broker,
    client: AsyncDuragenClient,
    operator: Operator,
) -> None:
    """2 for a wrong command, 4 for a letter that is not there."""
    async with consuming(broker.table(), client):
        pass
    done = await operator.deadletters(*arguments)
    assert (done.code, done.out) == (code, done.out if code == 4 else "")
    assert done.err


async def test_a_broker_that_is_away_is_named(broker: Broker, tmp_path: Path) -> None:
    """Exit code 3, and the address without the password."""
    table = broker.table(url="amqp://duragen:secret@127.0.0.1:9/%2F")
    done = await Operator(table, tmp_path).deadletters("list")
    assert done.code == 3
    assert "RabbitMQ at 127.0.0.1:9 cannot be reached" in done.err
    assert "secret" not in done.err


async def test_what_is_given_out_too_often_is_the_brokers_own_dead_letter(
    broker: Broker, client: AsyncDuragenClient, operator: Operator
) -> None:
    """A message that nobody settles, as one that kills its consumer each time."""
    table = broker.table(delivery_limit=2)
    async with consuming(table, client):
        pass
    await broker.publish(b"poison")
    async with broker.channel() as channel:
        queue = await channel.get_queue(table.queue, ensure=False)
        for _ in range(3):
            async with asyncio.timeout(100):
                while (message := await queue.get(fail=False)) is None:
                    await asyncio.sleep(0.05)
            await message.nack(requeue=True)
    async with asyncio.timeout(100):
        while not (found := await operator.listed()):
            await asyncio.sleep(0.05)
    assert [each["reason"] for each in found] == ["delivery_limit"]
    assert "look at the consumers' log" in found[0]["detail"]
