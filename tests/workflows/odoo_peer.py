"""An Odoo of one test: takes callbacks, and is away, silent or particular as the test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from contracts.names import (
    GENERATION_QUEUE,
    HEALTH_QUERY,
    ODOO_HEALTH_WORKFLOW,
    PROBE_NOW_UPDATE,
    REPORT_SIGNAL,
    odoo_health_id,
)
from contracts.odoo_health import OdooHealthRules, OdooHealthState, OdooHealthView, OdooReport
from deploy.local.stack.config import CALLBACK_PATH
from tests.activities.http_peer import Received, answer, listening
from tests.lab import Handle, Lab
from workers.settings import OdooSettings, Settings

UNKNOWN_MODEL = "99999999-9999-4999-8999-999999999999"
"""A generation of it has its outcome at once, and costs no call."""


class OdooPeer:
    """`status` is what every request gets; `looks` is what a GET gets, when it is not the same.

    Deliveries of the request ids in `poison` get 503 all the same.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.looks: int | None = None
        self.poison: Collection[str] = ()
        self.gets = 0
        self.attempts: list[str] = []
        """Request ids of all deliveries, in order."""
        self.taken: Counter[str] = Counter()
        self.hold: asyncio.Event | None = None
        """While it is there and not set, no delivery is answered."""
        self.held = 0

    @property
    def callback_url(self) -> str:
        """Where outcomes go."""
        return self.url + CALLBACK_PATH

    async def reply(self, received: Received, *connection: Any) -> None:
        """One request."""
        if received.method == "GET":
            self.gets += 1
            await answer(self.looks or self.status)(received, *connection)
            return
        request_id = received.json["requestId"]
        self.attempts.append(request_id)
        if self.hold:
            self.held += 1
            await self.hold.wait()
        status = 503 if request_id in self.poison else self.status
        if status == 200:
            self.taken[request_id] += 1
        await answer(status)(received, *connection)


@asynccontextmanager
async def odoo_peer() -> AsyncIterator[OdooPeer]:
    """One on a free port of loopback."""
    async with listening() as peer:
        odoo = OdooPeer(peer.url)
        peer.says(odoo.reply)
        yield odoo


def with_odoo(settings: Settings, *odoos: OdooPeer, **more: Any) -> Settings:
    """The settings with these Odoos beside the one they have."""
    added = [OdooSettings(origin=odoo.url, **more) for odoo in odoos]
    return settings.model_copy(update={"odoo": (*settings.odoo, *added)})


async def found_away(lab: Lab, odoo: OdooPeer, rules: OdooHealthRules) -> Handle:
    """Its health workflow, after as many failures as it takes."""
    handle: Handle = await lab.client.start_workflow(
        ODOO_HEALTH_WORKFLOW,
        OdooHealthState(odoo=odoo.url, rules=rules),
        id=odoo_health_id(odoo.url),
        task_queue=GENERATION_QUEUE,
    )
    report = OdooReport(failing_since_answer=rules.failures_in_a_row, detail="answered 503")
    await handle.signal(REPORT_SIGNAL, report)
    return handle


def health_of(client: Client, odoo: OdooPeer) -> WorkflowHandle[Any, Any]:
    """Its health workflow."""
    return client.get_workflow_handle(odoo_health_id(odoo.url))


async def seen(client: Client, odoo: OdooPeer) -> OdooHealthView:
    """What its health workflow says; well when there is none."""
    try:
        view: OdooHealthView = await health_of(client, odoo).query(
            HEALTH_QUERY, result_type=OdooHealthView
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return OdooHealthView(odoo=odoo.url)
    return view


async def probed(client: Client, odoo: OdooPeer) -> OdooHealthView:
    """Probe it at once, as an operator's command does."""
    return await health_of(client, odoo).execute_update(
        PROBE_NOW_UPDATE, result_type=OdooHealthView
    )
