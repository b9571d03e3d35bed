"""What is broken in the rows: each fault runs beside the load, and ends before it is judged."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from itertools import cycle
from typing import Any

from tests.chaos.second_odoo import SLOTS, sleep_until
from tests.chaos.stage import Stage
from tests.workflows.relay import Wire

SHARE = 0.3

DEPLOY_SECONDS = 20.0

WHOLE = 200
"""Generations of a row that is no trial."""


Fault = Callable[[Stage], Coroutine[Any, Any, None]]


async def no_fault(_stage: Stage) -> None:
    """Nothing is broken."""


async def worker_killed(stage: Stage) -> None:
    """SIGKILL at random moments for as long as the load lasts.

    Peers answer late, so that it often strikes between the booking and the answer.
    """
    await stage.late(0.5)
    await stage.sent(0.1)
    while stage.load.share < 0.95:
        await stage.kill("worker")
        stage.fixed()
        await asyncio.sleep(stage.dice.uniform(1, 5))


async def worker_stopped(stage: Stage) -> None:
    """SIGSTOP for longer than the heartbeat's 15 s, while another worker takes over."""
    await stage.late(0.5)
    async with stage.second_worker():
        await stage.sent(0.2)
        await stage.freeze("worker", 20)
        stage.fixed()
        await stage.closed(60)


async def temporal_killed(stage: Stage) -> None:
    """SIGKILL of the server three times."""
    for share in (0.2, 0.5, 0.8):
        await stage.sent(share)
        await asyncio.sleep(stage.dice.uniform(0, 1))
        await stage.kill("temporal")
        stage.fixed()


def image_fault(kind: str, **more: Any) -> Fault:
    """The image service breaks a share of its calls."""

    async def fault(stage: Stage) -> None:
        await stage.images(kind, share=SHARE, seed=stage.dice.randrange(1_000), **more)
        # Retries meet it as well: until all is closed.
        await stage.sent(1)
        await stage.closed(120)

    return fault


async def store_away(stage: Stage) -> None:
    """No S3 for 5 minutes; for 30 s in a trial."""
    await stage.sent(0.3)
    await stage.away("store", 300 if stage.load.total >= WHOLE else 30)
    stage.fixed()


async def store_refuses(stage: Stage) -> None:
    """S3 answers look-ups and refuses each write: what is paid for cannot be stored."""
    await stage.sent(0.3)
    stage.store_line.wire = Wire.READS
    await stage.sent(1)
    await asyncio.sleep(15)
    stage.store_line.wire = Wire.WHOLE
    stage.met += stage.store_line.refused
    stage.fixed()


async def odoo_away(stage: Stage) -> None:
    """No Odoo for 60 s; then half of the parked ones are sent off by the operator."""
    await stage.sent(0.2)
    async with stage.second_odoo.outage():
        await stage.away("odoo", 60)
    stage.fixed()
    parked = sorted(await stage.parked_now())
    await stage.redeliver(*parked[::2])


async def one_odoo_silent(stage: Stage) -> None:
    """One of two Odoos takes what comes and never answers, while the load lasts and for 75 s.

    A delivery has 60 s: so it is found out that this Odoo is away, and what waits is held.
    """
    began = time.monotonic()
    async with stage.second_odoo.silent():
        await stage.sent(1)
        if behind := await stage.recorded(60):
            stage.complaints.append(f"{behind} outcomes waited behind those of the silent Odoo")
        await sleep_until(began, 75)
        stage.met += stage.second_odoo.unanswered
    stage.fixed()


async def odoo_500(stage: Stage) -> None:
    """500 for 30 s; then the operator sends all off that are parked."""
    await stage.sent(0.2)
    await stage.odoo(status=500)
    await asyncio.sleep(30)
    await stage.odoo()
    stage.fixed()
    await stage.redeliver("--all")


async def odoo_late(stage: Stage) -> None:
    """Each of 8 deliveries is booked, and the answer never comes: the client gives up at 60 s.

    So many are under way at a time. With more of them Odoo is away, and each probe takes a minute.
    """
    await stage.sent(0.2)
    await stage.odoo(commit_then_hang=True, times=SLOTS)
    await stage.sent(1)


async def deploys(stage: Stage) -> None:
    """A deploy under load, and another one each 20 s until nothing runs any more."""
    await stage.sent(0.5)
    while True:
        began = time.monotonic()
        await stage.deploy()
        stage.fixed()
        if stage.load.share >= 1 and await stage.closed(1):
            return
        await asyncio.sleep(max(0.0, DEPLOY_SECONDS - (time.monotonic() - began)))


async def never_ready(stage: Stage) -> None:
    """FLUX accepts its jobs, which are paid for, and finishes none."""
    await stage.images("never_ready")
    await stage.sent(1)
    await stage.closed(120)


async def everything(stage: Stage) -> None:
    """All of the above, one on top of the other."""
    async with stage.second_worker():
        changing = asyncio.create_task(changing_images(stage))
        await stage.sent(0.1)
        await asyncio.gather(
            worker_killed(stage),
            temporal_killed(stage),
            later(0.3, stage, stage.away("store", 10)),
            later(0.4, stage, stage.away("odoo", 30)),
        )
        await stage.odoo(commit_then_hang=True, times=10)
        await stage.sent(1)
        await asyncio.sleep(5)
        await stage.odoo()
        await stage.freeze("worker", 18)
        changing.cancel()
        await stage.images()
        stage.fixed()
        await asyncio.sleep(8)
        await stage.redeliver("--all")
        await stage.closed(150)


async def changing_images(stage: Stage) -> None:
    """The image service's faults, one after the other."""
    for kind in cycle(IMAGE_FAULTS.values()):
        await stage.images(share=0.2, seed=stage.dice.randrange(1_000), **kind)
        await asyncio.sleep(2)


async def later(share: float, stage: Stage, fault: Awaitable[None]) -> None:
    """A fault that waits until this share of the load has been sent."""
    await stage.sent(share)
    await fault


IMAGE_FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429, "headers": {"retry-after": "1"}},
    "500": {"kind": "status", "status": 500},
    "hang": {"kind": "accept_then_hang"},
    "reset": {"kind": "accept_then_reset"},
    "drip": {"kind": "drip", "seconds": 60},
    "wrong bytes": {"kind": "half_image"},
}
