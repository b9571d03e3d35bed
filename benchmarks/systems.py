"""What is compared: each carries an image generation to its end, and each is loaded alike."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx

from benchmarks.bare_temporal import bare_temporal
from benchmarks.load import PATIENCE_SECONDS, Asking, asking, deliveries_to_odoo, fresh_stack
from benchmarks.n8n.install import VERSION, installed
from benchmarks.n8n.server import PARTS as PARTS_BESIDE_N8N
from benchmarks.n8n.server import n8n_beside


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
async def _n8n(*, handed_on: bool) -> AsyncIterator[Asking]:
    n8n = installed()
    with (
        fresh_stack(0, PARTS_BESIDE_N8N) as stack,
        n8n_beside(stack, n8n, handed_on=handed_on) as webhook_url,
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
                yield somebody


DURAGEN = System("Duragen", _duragen)
_N8N = f"N8N {'.'.join(VERSION.split('.')[:2])}"
N8N = System(_N8N, partial(_n8n, handed_on=True))
N8N_WITHOUT_IMAGE = System(f"{_N8N}, the image thrown away", partial(_n8n, handed_on=False))
BARE_TEMPORAL = System("bare Temporal", bare_temporal)
