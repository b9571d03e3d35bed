"""What is compared: each carries an image generation to its end, and each is loaded alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx

from benchmarks.bare_temporal import bare_temporal
from benchmarks.load import PATIENCE_SECONDS, Asking, asking, deliveries_to_odoo, fresh_stack
from benchmarks.n8n.server import PARTS as PARTS_BESIDE_N8N
from benchmarks.n8n.server import Image, check_stored, n8n_beside
from deploy.local.n8n.install import VERSION, installed


class System(NamedTuple):
    """`running` starts it afresh, with an image service that answers at once, and warms it up."""

    name: str
    running: Callable[[], AbstractAsyncContextManager[Asking]]


@asynccontextmanager
async def _duragen() -> AsyncIterator[Asking]:
    with fresh_stack(0) as stack:
        async with asking(stack) as somebody:
            yield somebody


@asynccontextmanager
async def _n8n(image: Image) -> AsyncIterator[Asking]:
    n8n = installed()
    with (
        fresh_stack(0, PARTS_BESIDE_N8N[image]) as stack,
        n8n_beside(stack, n8n, image) as (_, webhook_url),
    ):
        # A connection for each generation in flight, given up before Node does (after 5 s idle).
        limits = httpx.Limits(keepalive_expiry=2)
        async with httpx.AsyncClient(
            trust_env=False, timeout=PATIENCE_SECONDS, limits=limits
        ) as http:

            async def start(event: dict[str, Any]) -> None:
                answer = await http.post(webhook_url, json=event)
                answer.raise_for_status()

            somebody = Asking(stack, start, deliveries_to_odoo(stack))
            async with somebody.warm():
                if image == "stored":
                    await asyncio.to_thread(check_stored, stack)
                yield somebody


DURAGEN = System("Duragen", _duragen)
_N8N = f"N8N {'.'.join(VERSION.split('.')[:2])}, the image"
N8N_STORED = System(f"{_N8N} stored", partial(_n8n, "stored"))
N8N_HANDED_ON = System(f"{_N8N} handed on", partial(_n8n, "handed on"))
N8N_THROWN_AWAY = System(f"{_N8N} thrown away", partial(_n8n, "thrown away"))
BARE_TEMPORAL = System("bare Temporal", bare_temporal)
