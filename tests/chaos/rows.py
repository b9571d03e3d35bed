"""The rows: what is broken in each, and what must hold all the same.

A fault runs beside the load and ends before the row is judged. Shares are of calls to the image
service, so that most generations still complete: a row that is green because everything failed
falls below its least share of completed ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

from contracts.alerts import AlertName
from tests.chaos.evidence import Evidence
from tests.chaos.faults import (
    IMAGE_FAULTS,
    Fault,
    deploys,
    everything,
    image_fault,
    never_ready,
    no_fault,
    odoo_500,
    odoo_away,
    odoo_late,
    one_odoo_silent,
    store_away,
    store_refuses,
    temporal_killed,
    worker_killed,
    worker_stopped,
)
from tests.chaos.judge import Expectation, Figures
from tests.chaos.scene import Scene
from tests.chaos.stage import Stage

USUAL = Scene()


def one_more(completed: float) -> Expectation:
    """After a submission that may have been paid for, one more is made, on whatever route."""
    return Expectation(completed, beyond_first=1, beyond_first_two_routes=1)


ALL = Expectation()
"""Every generation completes, and nothing is paid twice."""

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


ROWS = (
    Row("none", no_fault, nothing),
    Row(
        "worker kill -9",
        worker_killed,
        by_hand,
        one_more(0.95),
        seconds=160,
        times=2,
    ),
    Row(
        "worker SIGSTOP 20 s",
        worker_stopped,
        by_hand,
        one_more(0.98),
        seconds=70,
    ),
    Row("Temporal kill -9", temporal_killed, by_hand, one_more(0.98)),
    Row(
        "image service: 429",
        image_fault(**IMAGE_FAULTS["429"]),
        at_the_image_service,
        Expectation(completed=0.9),
    ),
    Row(
        "image service: 500",
        image_fault(**IMAGE_FAULTS["500"]),
        at_the_image_service,
        Expectation(completed=0.9),
    ),
    Row(
        "image service: hang",
        image_fault(**IMAGE_FAULTS["hang"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "image service: reset after accepting",
        image_fault(**IMAGE_FAULTS["reset"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "image service: slow drip",
        image_fault(**IMAGE_FAULTS["drip"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "image service: wrong bytes",
        image_fault(**IMAGE_FAULTS["wrong bytes"]),
        at_the_image_service,
        one_more(0.8),
    ),
    Row(
        "a deploy every 20 s",
        deploys,
        by_hand,
        scene=Scene(latency_seconds=12, route_seconds=60, grace_seconds=150),
        seconds=100,
    ),
    Row(
        "a provider never finishes its jobs",
        never_ready,
        at_the_image_service,
        Expectation(beyond_first_two_routes=1, alert=AlertName.PROVIDER_DOWN),
        # Nothing hangs here but the jobs: a call of the healthy one may take its time.
        scene=Scene(deadline_seconds=40, route_seconds=30, flux_first=True, poll_seconds=4),
        seconds=60,
    ),
    Row(
        "S3 down 5 min",
        store_away,
        by_hand,
        seconds=360,
    ),
    Row(
        "S3 refuses writes",
        store_refuses,
        by_hand,
        scene=Scene(store_line=True),
        seconds=60,
    ),
    Row(
        "Odoo down 60 s",
        odoo_away,
        by_hand,
        Expectation(alert=AlertName.DELIVERIES_PARKED),
        scene=Scene(relayed=1),
        seconds=130,
    ),
    Row(
        "one of two Odoos silent",
        one_odoo_silent,
        by_hand,
        scene=Scene(relayed=0.5),
        seconds=130,
    ),
    Row("Odoo answers 500", odoo_500, at_odoo, seconds=70),
    Row("Odoo answers after the client gave up", odoo_late, repeats, seconds=110),
    Row("each request sent 3 times", no_fault, copies_sent, copies=3),
    Row(
        "all at once",
        everything,
        by_hand,
        one_more(0.6),
        copies=3,
        seconds=150,
    ),
)
