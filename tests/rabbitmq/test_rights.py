"""The rights that docs/rabbitmq.md names are enough for who it names them for."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest

from contracts.broker import DEAD_LETTER_EXCHANGE, EXCHANGE, JOB_COMPLETED, JOB_REQUESTED
from peers.rabbitmq import RabbitTable
from peers.rabbitmq_publisher import Publisher
from starter.client import AsyncDuragenClient
from starter.rabbitmq.dead_letters import dead_letters
from tests.rabbitmq.broker import consuming
from tests.rabbitmq.server import RabbitServer

PAGE = Path(__file__).parents[2] / "docs/rabbitmq.md"
PASSWORD = "a-password"  # of a test


def rights(who: str) -> list[str]:
    """The three patterns of a row of the table."""
    _, table = PAGE.read_text().split("| who | configure | write | read |")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.split("\n\n")[0].splitlines()[2:]]
    [found] = [row[1:] for row in rows if row[0].strip() == who]
    patterns = [cell.strip().strip("`").replace("\\|", "|") for cell in found]
    return [patterns[0] if cell == "the same" else cell for cell in patterns]


class Place:
    """A virtual host with everything in it, and a user whose rights are chosen."""

    def __init__(self, server: RabbitServer, name: str) -> None:
        self._server = server
        self._name = name

    @property
    def administrator(self) -> RabbitTable:
        """The settings of somebody who may do everything."""
        url = self._server.url.replace("%2F", self._name)
        return RabbitTable.model_validate({"url": url, "publish_outcomes": False})

    async def table(self, who: str, **more: bool) -> RabbitTable:
        """The settings of that user, with the rights of the page."""
        await self._server.ctl("set_permissions", "-p", self._name, self._name, *rights(who))
        url = self._server.url_of(self._name, PASSWORD, self._name)
        return RabbitTable.model_validate({"url": url, "publish_outcomes": False, **more})


@pytest.fixture
async def place(server: RabbitServer) -> AsyncIterator[Place]:
    """A fresh one; the administrator has made the queues where nobody else may."""
    name = f"rights-{uuid4().hex[:8]}"
    await server.ctl("add_vhost", name)
    await server.ctl("add_user", name, PASSWORD)
    await server.ctl("set_permissions", "-p", name, "duragen", ".*", ".*", ".*")
    try:
        yield Place(server, name)
    finally:
        await server.ctl("delete_vhost", name)
        await server.ctl("delete_user", name)


async def test_of_who_declares(place: Place, client: AsyncDuragenClient) -> None:
    """It makes everything, and puts what is no request with the dead letters."""
    table = await place.table("the process that declares")
    async with consuming(table, client):
        await sent(table, EXCHANGE, JOB_REQUESTED)
        await until_buried(table)


async def test_of_who_declares_nothing(place: Place, client: AsyncDuragenClient) -> None:
    """Where the queues are there, less will do."""
    async with consuming(place.administrator, client):
        pass
    async with consuming(await place.table("with `declare = false`", declare=False), client):
        await sent(place.administrator, EXCHANGE, JOB_REQUESTED)
        await until_buried(place.administrator)


async def test_of_the_command(place: Place, client: AsyncDuragenClient) -> None:
    """`duragen deadletters` reads there, and publishes requests."""
    async with consuming(place.administrator, client):
        await sent(place.administrator, DEAD_LETTER_EXCHANGE, "x")
    table = await place.table("`duragen deadletters`")
    async with dead_letters(table) as letters:
        assert [each.letter.body async for each in letters.requeue(None)] == [b"no JSON"]


async def test_of_the_worker(place: Place, client: AsyncDuragenClient) -> None:
    """It publishes, and nothing else."""
    async with consuming(place.administrator, client):
        pass
    table = await place.table("the worker")
    with pytest.raises(Exception, match="no queue takes"):
        await sent(table, EXCHANGE, JOB_COMPLETED)


async def sent(table: RabbitTable, exchange: str, key: str) -> None:
    """A message by this user."""
    publisher = Publisher(table, "a test")
    try:
        await publisher.publish(exchange, key, aio_pika.Message(b"no JSON", message_id="m"))
    finally:
        await publisher.close()


async def until_buried(table: RabbitTable) -> None:
    """Wait until the message is a dead letter."""
    async with asyncio.timeout(100):
        while True:
            async with dead_letters(table) as letters:
                if [each async for each in letters.all()]:
                    return
            await asyncio.sleep(0.05)
