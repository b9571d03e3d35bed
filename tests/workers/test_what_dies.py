"""What dies when, and how often an image is paid for then: every place of every try."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import uuid4

import pytest
from temporalio.client import WorkflowFailureError

from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from tests.lab import Handle, Lab
from tests.workers.scripted import Place, Row, Scripted
from tests.workers.worker_process import Launch, WorkerProcess

pytestmark = pytest.mark.timeout(300)

TRIES = (1, 2, 3)
SPARE_MODEL_ID = uuid4()
AT_THE_STORE = {Place.ANSWERED, Place.STORED}


class Table(NamedTuple):
    """Rows under way with a worker, each held at its place."""

    rows: list[Row]
    handles: list[Handle]

    async def ended(self) -> dict[str, str]:
        """How each generation ended: `completed`, or its error code."""
        return {
            row.prompt: await _end(handle)
            for row, handle in zip(self.rows, self.handles, strict=True)
        }

    def paid(self) -> dict[str, int]:
        """How often each was paid for."""
        return {row.prompt: row.paid for row in self.rows}


async def _end(handle: Handle) -> str:
    async with asyncio.timeout(120):
        try:
            return str((await handle.result()).state)
        except WorkflowFailureError as error:
            return str(getattr(error.cause, "type", error.cause))


def _expected(counts: dict[Place, int]) -> dict[str, int]:
    return {Row(place, at_try).prompt: counts[place] for place in Place for at_try in TRIES}


@pytest.fixture
async def scripted(lab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[Scripted]:
    """A row for each try of each place, or of those that a test names."""
    rows = getattr(request, "param", [Row(place, at_try) for place in Place for at_try in TRIES])
    picture = paint(Picture("A lighthouse", 7, 128, 96))
    async with Scripted.listening(rows, picture, lab.stack.s3_url) as peers:
        yield peers


def _variables(scripted: Scripted, **more: str) -> dict[str, str]:
    """The peers; and a second provider, for tries that are held with a thread and an image."""
    route = {"provider": "spare", "model": "gpt-image-2.5-flare"}
    return {
        "DURAGEN_PROVIDERS__OPENAI__BASE_URL": scripted.service,
        "DURAGEN_PROVIDERS__SPARE__KIND": "openai",
        "DURAGEN_PROVIDERS__SPARE__BASE_URL": scripted.service,
        "DURAGEN_PROVIDERS__SPARE__API_KEY": "sk-spare-0123456789",
        "DURAGEN_MODELS": json.dumps({str(SPARE_MODEL_ID): {"routes": [route]}}),
        "DURAGEN_STORAGE__ENDPOINT_URL": scripted.store,
        "DURAGEN_WORKER__IMAGES_IN_MEMORY": "20",
        **more,
    }


class Workers:
    """Two processes: one has the second provider's queue, the other one the rest."""

    def __init__(self, launch: Launch, scripted: Scripted) -> None:
        self._launch = launch
        self._scripted = scripted
        self.running: list[WorkerProcess] = []

    async def begin(self, **more: str) -> None:
        """Start both, and wait until they serve."""
        variables = _variables(self._scripted, **more)
        queues = [("generation", "provider.openai"), ("provider.spare",)]
        for each in queues:
            options = [option for queue in each for option in ("--queue", queue)]
            worker = await self._launch(*options, **variables)
            self.running.append(worker)
        for worker in self.running:
            await worker.answers("/health/ready")

    async def end(self, number: int) -> list[int]:
        """Send both a signal, and return their exit codes."""
        ending, self.running = self.running, []
        for worker in ending:
            worker.process.send_signal(number)
        return [await worker.ends() for worker in ending]


@pytest.fixture
def workers(launch: Launch, scripted: Scripted) -> Workers:
    """None yet."""
    return Workers(launch, scripted)


async def _under_way(lab: Lab, scripted: Scripted) -> Table:
    handles = []
    for row in scripted.rows:
        request = lab.request(
            prompt=row.prompt,
            resolution="128x96",
            aspect_ratio="4:3",
            model_id=SPARE_MODEL_ID if row.place in AT_THE_STORE else OPENAI_MODEL_ID,
        )
        row.request_id = request.request_id
        handles.append(await lab.start(request))
    await scripted.all_held()
    return Table(scripted.rows, handles)


AS_BAD_AS_IT_GETS = {Place.BEFORE: 1, Place.SENT: 2, Place.ANSWERED: 2, Place.STORED: 1}
"""What was sent is paid once more at most, what was stored never again."""


async def test_kill(lab: Lab, scripted: Scripted, workers: Workers) -> None:
    """`kill -9`: each generation ends with its image all the same."""
    await workers.begin()
    table = await _under_way(lab, scripted)
    await workers.end(signal.SIGKILL)
    scripted.let_all_go()
    await workers.begin()
    assert set((await table.ended()).values()) == {"completed"}
    assert table.paid() == _expected(AS_BAD_AS_IT_GETS)


async def test_leaving(lab: Lab, scripted: Scripted, workers: Workers) -> None:
    """SIGTERM: a worker finishes what it has begun and takes no more. Nothing is paid twice."""
    await workers.begin()
    table = await _under_way(lab, scripted)
    leaving = asyncio.create_task(workers.end(signal.SIGTERM))
    await workers.begin()
    scripted.let_all_go()
    assert set((await table.ended()).values()) == {"completed"}
    assert await leaving == [0, 0]
    assert table.paid() == _expected(dict.fromkeys(Place, 1))


NO_TIME = [
    *(Row(Place.SENT, at_try) for at_try in TRIES),
    *(Row(Place.SENT, at_try, first_lost=True) for at_try in (2, 3, 4)),
]


@pytest.mark.parametrize("scripted", [NO_TIME], indirect=True)
async def test_no_time_to_leave(lab: Lab, scripted: Scripted, workers: Workers) -> None:
    """SIGTERM and a grace that is too short: as bad as a kill, and no worse.

    Where a reply was lost before, nothing more is paid for.
    """
    await workers.begin(DURAGEN_WORKER__GRACEFUL_SECONDS="0")
    table = await _under_way(lab, scripted)
    assert await workers.end(signal.SIGTERM) == [0, 0]
    scripted.let_all_go()
    await workers.begin()
    assert await table.ended() == {
        row.prompt: "OUTCOME_UNKNOWN" if row.first_lost else "completed" for row in table.rows
    }
    assert set(table.paid().values()) == {AS_BAD_AS_IT_GETS[Place.SENT]}
