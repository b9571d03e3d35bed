"""The rows: what is broken in each, and what must hold all the same.

A fault runs beside the load and ends before the row is judged. Shares are of calls to the image
service, so that most generations still complete: a row that is green because everything failed
falls below its least share of completed ones.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from contracts.alerts import AlertName
from tests.chaos.evidence import Evidence
from tests.chaos.judge import Expectation, Figures
from tests.chaos.scene import Scene
from tests.chaos.second_odoo import sleep_until
from tests.chaos.stage import Stage

SHARE = 0.3

USUAL = Scene()

DEPLOY_SECONDS = 20.0


def one_more(completed: float) -> Expectation:
    """After a submission that may have been paid for, one more is made, on whatever route."""
    return Expectation(completed, beyond_first=1, beyond_first_two_routes=1)


ALL = Expectation()
"""Every generation completes, and nothing is paid twice."""

Fault = Callable[[Stage], Coroutine[Any, Any, None]]
Met = Callable[[Stage, Evidence, Figures], int]


def by_hand(stage: Stage, _evidence: Evidence, _figures: Figures) -> int:
    """How often a part was killed, ended or frozen."""
    return stage.met


def at_the_image_service(_stage: Stage, evidence: Evidence, _figures: Figures) -> int:
    """Calls that met a fault, as the image service wrote them down."""
    return sum(count for outcome, count in evidence.calls.items() if ": " in outcome)


def at_odoo(_stage: Stage, evidence: Evidence, _figures: Figures) -> int:
    """Deliveries that met a fault, as Odoo wrote them down."""
    return sum(
        delivery.effect == "fault" for each in evidence.deliveries.values() for delivery in each
    )


def repeats(_stage: Stage, _evidence: Evidence, row: Figures) -> int:
    """Deliveries that came again."""
    return row.repeated


def copies_sent(stage: Stage, _evidence: Evidence, row: Figures) -> int:
    """Starts of requests that had been started."""
    return row.submitted * (stage.load.copies - 1)


def nothing(_stage: Stage, _evidence: Evidence, _figures: Figures) -> int:
    """There is no fault."""
    return 0


@dataclass(frozen=True)
class Row:
    """One row. `seconds` is about how long it takes, so that the long ones begin first."""

    name: str
    fault: Fault
    met: Met
    expected: Expectation = ALL
    copies: int = 1
    seconds: float = 45
    scene: Scene = USUAL
    times: int = 1
    """So many times as many generations as the other rows."""

    @property
    def met_needed(self) -> bool:
        """Whether a row without any fault would be a fault of ours."""
        return self.met is not nothing


async def _none(_stage: Stage) -> None:
    """Nothing is broken."""


async def _worker_killed(stage: Stage) -> None:
    """SIGKILL at random moments for as long as the load lasts.

    Peers answer late, so that it often strikes between the booking and the answer.
    """
    await stage.late(0.5)
    await stage.sent(0.1)
    while stage.load.share < 0.95:
        await stage.kill("worker")
        stage.fixed()
        await asyncio.sleep(stage.dice.uniform(1, 5))


async def _worker_stopped(stage: Stage) -> None:
    """SIGSTOP for longer than the heartbeat's 15 s, while another worker takes over."""
    await stage.late(0.5)
    async with stage.second_worker():
        await stage.sent(0.2)
        await stage.freeze("worker", 20)
        stage.fixed()
        await stage.closed(60)


async def _temporal_killed(stage: Stage) -> None:
    """SIGKILL of the server three times."""
    for share in (0.2, 0.5, 0.8):
        await stage.sent(share)
        await asyncio.sleep(stage.dice.uniform(0, 1))
        await stage.kill("temporal")
        stage.fixed()


def _images(kind: str, **more: Any) -> Fault:
    async def fault(stage: Stage) -> None:
        await stage.images(kind, share=SHARE, seed=stage.dice.randrange(1_000), **more)
        # Retries meet it as well: until all is closed.
        await stage.sent(1)
        await stage.closed(120)

    return fault


async def _store_away(stage: Stage) -> None:
    """No S3 for 20 s."""
    await stage.sent(0.3)
    await stage.away("store", 20)
    stage.fixed()


async def _odoo_away(stage: Stage) -> None:
    """No Odoo for 60 s; then half of the parked ones are sent off by the operator."""
    await stage.sent(0.2)
    async with stage.second_odoo.outage():
        await stage.away("odoo", 60)
    stage.fixed()
    parked = sorted(await stage.parked_now())
    await stage.redeliver(*parked[::2])


async def _one_odoo_silent(stage: Stage) -> None:
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


async def _odoo_500(stage: Stage) -> None:
    """500 for 30 s; then the operator sends all off that are parked."""
    await stage.sent(0.2)
    await stage.odoo(status=500)
    await asyncio.sleep(30)
    await stage.odoo()
    stage.fixed()
    await stage.redeliver("--all")


async def _odoo_late(stage: Stage) -> None:
    """Each of 40 deliveries is booked, and the answer never comes: the client gives up at 60 s."""
    await stage.sent(0.2)
    await stage.odoo(commit_then_hang=True, times=40)
    await stage.sent(1)


async def _deploys(stage: Stage) -> None:
    """A deploy under load, and another one each 20 s until nothing runs any more."""
    await stage.sent(0.5)
    while True:
        began = time.monotonic()
        await stage.deploy()
        stage.fixed()
        if stage.load.share >= 1 and await stage.closed(1):
            return
        await asyncio.sleep(max(0.0, DEPLOY_SECONDS - (time.monotonic() - began)))


async def _never_ready(stage: Stage) -> None:
    """FLUX accepts its jobs, which are paid for, and finishes none."""
    await stage.images("never_ready")
    await stage.sent(1)
    await stage.closed(120)


async def _everything(stage: Stage) -> None:
    """All of the above, one on top of the other."""
    async with stage.second_worker():
        changing = asyncio.create_task(_changing_images(stage))
        await stage.sent(0.1)
        await asyncio.gather(
            _worker_killed(stage),
            _temporal_killed(stage),
            _later(0.3, stage, stage.away("store", 10)),
            _later(0.4, stage, stage.away("odoo", 30)),
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


async def _changing_images(stage: Stage) -> None:
    for kind in cycle(IMAGE_FAULTS.values()):
        await stage.images(share=0.2, seed=stage.dice.randrange(1_000), **kind)
        await asyncio.sleep(2)


async def _later(share: float, stage: Stage, fault: Awaitable[None]) -> None:
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

ROWS = (
    Row("none", _none, nothing),
    Row(
        "worker kill -9",
        _worker_killed,
        by_hand,
        one_more(0.95),
        seconds=160,
        times=2,
    ),
    Row(
        "worker SIGSTOP 20 s",
        _worker_stopped,
        by_hand,
        one_more(0.98),
        seconds=70,
    ),
    Row("Temporal kill -9", _temporal_killed, by_hand, one_more(0.98)),
    Row(
        "image service: 429",
        _images(**IMAGE_FAULTS["429"]),
        at_the_image_service,
        Expectation(completed=0.9),
    ),
    Row(
        "image service: 500",
        _images(**IMAGE_FAULTS["500"]),
        at_the_image_service,
        Expectation(completed=0.9),
    ),
    Row(
        "image service: hang",
        _images(**IMAGE_FAULTS["hang"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "image service: reset after accepting",
        _images(**IMAGE_FAULTS["reset"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "image service: slow drip",
        _images(**IMAGE_FAULTS["drip"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "image service: wrong bytes",
        _images(**IMAGE_FAULTS["wrong bytes"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "a deploy every 20 s",
        _deploys,
        by_hand,
        scene=Scene(latency_seconds=12, route_seconds=60, grace_seconds=150),
        seconds=100,
    ),
    Row(
        "a provider never finishes its jobs",
        _never_ready,
        at_the_image_service,
        Expectation(beyond_first_two_routes=1, alert=AlertName.PROVIDER_DOWN),
        # Nothing hangs here but the jobs: a call of the healthy one may take its time.
        scene=Scene(deadline_seconds=40, route_seconds=30, flux_first=True, poll_seconds=4),
        seconds=60,
    ),
    Row("S3 down 20 s", _store_away, by_hand, seconds=60),
    Row(
        "Odoo down 60 s",
        _odoo_away,
        by_hand,
        Expectation(alert=AlertName.DELIVERIES_PARKED),
        scene=Scene(relayed=1),
        seconds=130,
    ),
    Row(
        "one of two Odoos silent",
        _one_odoo_silent,
        by_hand,
        Expectation(alert=AlertName.DELIVERIES_PARKED),
        scene=Scene(relayed=0.5),
        seconds=130,
    ),
    Row("Odoo answers 500", _odoo_500, at_odoo, seconds=70),
    Row("Odoo answers after the client gave up", _odoo_late, repeats, seconds=110),
    Row("each request sent 3 times", _none, copies_sent, copies=3),
    Row(
        "all at once",
        _everything,
        by_hand,
        one_more(0.6),
        copies=3,
        seconds=150,
    ),
)
