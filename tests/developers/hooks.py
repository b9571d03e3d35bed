"""Webhooks of a developer in a test: receivers that listen, and what became of deliveries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.developers.receiver import Receiver
from tests.developers.world import PATIENCE_SECONDS, RECEIVER_PORTS, Developer


@asynccontextmanager
async def hearing(
    developer: Developer, **settings: Any
) -> AsyncIterator[tuple[Receiver, dict[str, Any]]]:
    """A receiver, and the webhook that leads to it."""
    port = RECEIVER_PORTS.pop()
    try:
        async with Receiver.listening(port) as receiver:
            given = {"url": receiver.url, **settings}
            answer = await developer.hooks("POST", "", json=given)
            assert answer.status_code == 201, answer.text
            webhook = answer.json()
            try:
                yield receiver, webhook
            finally:  # the next one at this port would hear what is left
                await developer.hooks("DELETE", f"/{webhook['id']}")
    finally:
        RECEIVER_PORTS.append(port)


async def deliveries(developer: Developer, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    """The latest of them."""
    answer = await developer.hooks("GET", f"/{webhook['id']}/deliveries")
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


async def all_delivered(developer: Developer, webhook: dict[str, Any]) -> None:
    """Wait until nothing is on its way."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while {each["status"] for each in await deliveries(developer, webhook)} != {"delivered"}:
            await asyncio.sleep(0.05)


async def until(developer: Developer, webhook: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """Wait for a delivery with these values."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for each in await deliveries(developer, webhook):
                if wanted.items() <= each.items():
                    return each
            await asyncio.sleep(0.05)
