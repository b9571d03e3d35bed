"""The store goes away and comes back while an image waits for it in memory."""

import asyncio
import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest

from activities.bucket import ImageId
from activities.images import Wanted
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.supervisor import Supervisor
from tests.activities.stored_images import SIZE
from workers.clients import Clients


class Noticed(logging.Handler):
    """Set as soon as the store's absence was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the log under test."""
        if "store away" in record.getMessage():
            self.event.set()


@pytest.fixture
def noticed() -> Iterator[Noticed]:
    """What `activities.storage` logs, listened to."""
    handler = Noticed()
    logger = logging.getLogger("activities.storage")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def stopped(parts: LocalStack) -> Iterator[Supervisor]:
    """The store, ended; running again after the test whatever happened in it."""
    store = parts.supervisor("store")
    store.stop()
    yield store
    if not store.ready.is_set():
        store.start()
        store.wait()


async def test_image_waits_for_the_store(
    clients: Clients, stopped: Supervisor, noticed: Noticed, picture: bytes
) -> None:
    """An image that was paid for waits in memory while the store restarts, and is kept then."""
    wanted = ImageId(uuid4(), "0" * 64, "png")
    image = await clients.store.verified(wanted, picture, Wanted("png", SIZE))
    keeping = asyncio.create_task(clients.store.put(image, wanted, picture, seconds=100))
    await noticed.event.wait()
    assert not keeping.done()
    await asyncio.to_thread(stopped.start)
    await asyncio.to_thread(stopped.wait)
    kept = await keeping
    assert await clients.store.find(wanted) == kept


async def test_look_before_a_paid_call_waits(
    clients: Clients, stopped: Supervisor, noticed: Noticed
) -> None:
    """A store that is away does not mean "there is no image": the look waits, too."""
    wanted = ImageId(uuid4(), "0" * 64, "png")
    looking = asyncio.create_task(clients.store.find(wanted, seconds=100))
    await noticed.event.wait()
    assert not looking.done()
    await asyncio.to_thread(stopped.start)
    await asyncio.to_thread(stopped.wait)
    assert await looking is None
