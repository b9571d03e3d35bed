"""The callback's token and signing secret change under load, and no delivery is parked for it."""

import asyncio
import base64
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import pytest
from temporalio.client import Client

from contracts.errors import DeliveryError
from contracts.events import GenerationRequested
from contracts.generation import GenerationState, GenerationView
from contracts.names import PARKED_MEMO, RETRY_DELIVERY_UPDATE, workflow_id
from contracts.tasks import DeliveryDecision
from tests.lab import Lab, working
from tests.workers.worker_process import Launch, WorkerProcess
from workers.settings import OdooSettings, Settings

AT_A_TIME = 3
IN_EACH_STATE = 4
"""So many generations run from their beginning to their end between two steps of a rotation."""


class Pair(NamedTuple):
    """A token and a signing secret."""

    token: str
    signing_secret: str

    @classmethod
    def made(cls) -> Self:
        """Fresh ones."""
        key = base64.b64encode(secrets.token_bytes(24)).decode()
        return cls(secrets.token_urlsafe(24), f"whsec_{key}")


class Rotating:
    """The stack's Odoo, whose secrets change, and the settings of workers to go with them."""

    def __init__(self, lab: Lab) -> None:
        known = lab.stack.secrets
        self.old = Pair(known.odoo_token, known.odoo_signing_secret)
        self.new = Pair.made()
        self._lab = lab

    async def odoo_takes(self, *pairs: Pair) -> None:
        """Any of these, from now on."""
        known = {
            "tokens": [pair.token for pair in pairs],
            "signing_secrets": [pair.signing_secret for pair in pairs],
        }
        url = f"{self._lab.stack.odoo_url}/_sandbox/secrets"
        (await self._lab.http.put(url, json=known)).raise_for_status()

    def table(self, current: Pair, previous: Pair | None = None) -> dict[str, Any]:
        """The `[[odoo]]` table of a worker that knows these."""
        table: dict[str, Any] = {"origin": self._lab.stack.odoo_url, **current._asdict()}
        if previous:
            table |= {f"previous_{name}": value for name, value in previous._asdict().items()}
        return table


@pytest.fixture
async def rotating(lab: Lab) -> AsyncIterator[Rotating]:
    """Odoo knows the old ones alone, before and afterwards."""
    both = Rotating(lab)
    yield both
    await both.odoo_takes(both.old)


class Load:
    """Generations, some at a time, one after the other."""

    def __init__(self, lab: Lab) -> None:
        self.requests: list[GenerationRequested] = []
        self._lab = lab
        self._ended = 0
        self._changed = asyncio.Condition()
        self._enough = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs, new ones begin; at its end all have ended."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_A_TIME):
                tasks.create_task(self._ask())
            yield
            self._enough = True

    async def goes_on(self) -> None:
        """Wait until enough have ended that began after this call."""
        wanted = self._ended + AT_A_TIME + IN_EACH_STATE
        async with asyncio.timeout(200), self._changed:
            await self._changed.wait_for(lambda: self._ended >= wanted)

    async def _ask(self) -> None:
        while not self._enough:
            request = self._lab.request()
            self.requests.append(request)
            outcome = await self._lab.outcome(request)
            assert outcome.state is GenerationState.COMPLETED
            async with self._changed:
                self._ended += 1
                self._changed.notify_all()


async def _replaced(
    launch: Launch, worker: WorkerProcess | None, load: Load, table: dict[str, Any]
) -> WorkerProcess:
    """A worker with other settings in the place of one that leaves; for a while both work."""
    fresh = await launch(DURAGEN_ODOO=json.dumps([table]))
    await fresh.answers("/health/ready")
    if worker:
        await load.goes_on()
        assert await worker.leaves() == 0
    return fresh


async def _effects(lab: Lab, request: GenerationRequested) -> Counter[str]:
    """What Odoo did with each delivery of a request that it believed."""
    deliveries = (await lab.ledgers(request)).deliveries
    return Counter(each["effect"] for each in deliveries if "refused" not in each["effect"])


@pytest.mark.parametrize("first", ["Odoo", "Duragen"])
async def test_a_rotation_parks_nothing(
    lab: Lab, client: Client, launch: Launch, rotating: Rotating, first: str
) -> None:
    """Whichever side is the first to know both, each outcome reaches Odoo once, and at once."""
    old, new, load = rotating.old, rotating.new, Load(lab)
    worker = await _replaced(launch, None, load, rotating.table(old))
    async with load.running():
        await load.goes_on()
        if first == "Odoo":
            await rotating.odoo_takes(new, old)
            await load.goes_on()
            await _replaced(launch, worker, load, rotating.table(new))
            await load.goes_on()
            await rotating.odoo_takes(new)
        else:
            worker = await _replaced(launch, worker, load, rotating.table(new, previous=old))
            await load.goes_on()
            await rotating.odoo_takes(new)
            await load.goes_on()
            await _replaced(launch, worker, load, rotating.table(new))
        await load.goes_on()
    for request in load.requests:
        description = await client.get_workflow_handle(workflow_id(request.request_id)).describe()
        assert PARKED_MEMO not in await description.memo()
        assert await _effects(lab, request) == {"applied": 1}
    assert len(load.requests) >= 5 * IN_EACH_STATE


@pytest.mark.parametrize("first", ["Odoo", "Duragen"])
async def test_a_secret_that_one_side_alone_knows_parks(
    lab: Lab, client: Client, settings: Settings, rotating: Rotating, first: str
) -> None:
    """The wrong order: the new one without the old one, on either side. Nothing is lost by it."""
    old, new = rotating.old, rotating.new
    there, here = (new, old) if first == "Odoo" else (old, new)
    await rotating.odoo_takes(there)
    odoo = OdooSettings.model_validate(rotating.table(here))
    async with working(client, settings.model_copy(update={"odoo": (odoo,)})):
        request = lab.request()
        handle = await lab.start(request)
        view = await lab.reaches(handle, GenerationState.PARKED)
        assert view.parked is not None
        assert view.parked.code == DeliveryError.ODOO_REFUSED
        assert "answered 401" in view.parked.detail
        assert await _effects(lab, request) == {}
        await rotating.odoo_takes(new, old)
        decision = DeliveryDecision(by="a test", reason="both are known")
        await handle.execute_update(RETRY_DELIVERY_UPDATE, decision, result_type=GenerationView)
        assert (await handle.result()).state is GenerationState.COMPLETED
        assert await _effects(lab, request) == {"applied": 1}
