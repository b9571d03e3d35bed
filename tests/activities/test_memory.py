"""How much of an image is in memory at a time, and how many images."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable

import httpx
import pytest

from activities.memory import ImageMemory
from contracts.events import GenerationRequested
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from tests.activities.provider_calls import at_once, openai, submission
from tests.activities.stored_images import image_of, stored
from workers.clients import Clients

MODEL = "gpt-image-2.5-flare"
IMAGE_BYTES = 4_000_000
SLACK_BYTES = 1_500_000
"""Of socket buffers, headers, log records: nothing of it grows with the image."""


async def peak_bytes(call: Callable[[], Awaitable[object]]) -> int:
    """The most that Python allocated above what it had before, during `call`."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


async def test_two_copies_at_most(
    tmp_path_factory: pytest.TempPathFactory,
    clients: Clients,
    http: httpx.AsyncClient,
    asked: GenerationRequested,
) -> None:
    """From the reply to the store an image of 4 MB never takes more than two copies.

    The widest moment is the end of the reply: its pieces and the whole, both in base64, which is
    4/3 of the image each. Later there are the reply and the image, then the image and the request
    that brings it to the store. Not seen here: decoded pixels, which are Pillow's.
    """
    home = tmp_path_factory.mktemp("canned")
    options = SandboxOptions(canned_bytes=IMAGE_BYTES)
    big = asked.model_copy(update={"resolution": "1024x1024", "aspect_ratio": "1:1"})
    with LocalStack(home, parts=("images",), options=options) as stack:
        service = openai(http, stack.images_url, stack.secrets.provider_keys["openai"])
        task = submission(big)
        task = task.model_copy(update={"route": task.route.model_copy(update={"model": MODEL})})

        async def submit() -> bytes:
            return await service.submit(task, at_once)

        async def generate() -> None:
            await stored(clients, image_of(big), await submit(), (1_024, 1_024))

        await generate()  # the first call also imports what is imported late
        peak = await peak_bytes(generate)
        data = await submit()
    assert IMAGE_BYTES < peak <= 2 * IMAGE_BYTES * 4 // 3 + SLACK_BYTES
    # Storing alone: the image is there already, the request that carries it is the second copy.
    peak = await peak_bytes(lambda: stored(clients, image_of(big), data, (1_024, 1_024)))
    assert peak <= IMAGE_BYTES + SLACK_BYTES


async def test_room_for_so_many() -> None:
    """With room for two images, a third waits until one is stored, and then gets in."""
    memory = ImageMemory(2)
    admitted: list[int] = []
    in_memory, most = 0, 0
    full = asyncio.Event()
    leave = asyncio.Event()

    async def image(number: int) -> None:
        nonlocal in_memory, most
        async with memory.lease() as admit:
            await admit()
            await admit()  # the same call asks twice, and takes one place
            admitted.append(number)
            in_memory += 1
            most = max(most, in_memory)
            if in_memory == 2:
                full.set()
            await leave.wait()
            in_memory -= 1

    tasks = [asyncio.create_task(image(number)) for number in range(3)]
    await full.wait()
    assert len(admitted) == 2
    leave.set()
    await asyncio.gather(*tasks)
    assert sorted(admitted) == [0, 1, 2]
    assert most == 2


async def test_room_is_given_back() -> None:
    """A call that fails, and one that was never admitted, leave the room as it was."""
    memory = ImageMemory(1)

    async def fail(*, admitted: bool) -> None:
        async with memory.lease() as admit:
            if admitted:
                await admit()
            raise RuntimeError("the call failed")

    for admitted in (True, False):
        with pytest.raises(RuntimeError, match="the call failed"):
            await fail(admitted=admitted)
    async with memory.lease() as admit:
        await admit()
