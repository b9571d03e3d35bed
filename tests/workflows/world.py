"""Everything around one generation, for a test to break and fix between two of its steps.

The parts are real: Temporal's server with a worker, the sandboxes, the store. Each workflow has a
clock of its own there, which a test moves; between two moves it is an ordinary one. Store and Odoo
stand behind relays that can be cut. Nothing of ours runs while the test thinks.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from botocore.exceptions import ClientError
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from contracts.events import GenerationRequested
from contracts.generation import GenerationView, Outcome
from contracts.names import SEARCH_ATTRIBUTES, image_key, workflow_id
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.local_stack import LocalStack
from peers.store import s3_client
from starter.client import AsyncDuragenClient
from tests.activities.http_peer import Peer, answer, listening
from tests.lab import Handle, Lab, Ledgers, working
from tests.workflows.relay import Relay, Wire
from tests.workflows.reservations import reserve
from workers.settings import NotifySettings, Settings

QUIET_LOOKS = 3
"""It is at rest when so many looks, 15 ms apart, find it the same."""

STUCK_LOOKS = 400

FINAL = {
    WorkflowExecutionStatus.COMPLETED,
    WorkflowExecutionStatus.FAILED,
    WorkflowExecutionStatus.CANCELED,
}


class Seen(NamedTuple):
    """What each part knows of the generation at one moment."""

    status: WorkflowExecutionStatus | None
    view: GenerationView
    ledgers: Ledgers
    image_stands: bool
    notified: list[str]

    @property
    def entries(self) -> list[str]:
        """The kinds of its credit entries."""
        return [entry["kind"] for entry in (self.ledgers.record or {}).get("ledger", [])]

    @property
    def in_odoo(self) -> str:
        """Its state in Odoo."""
        return str((self.ledgers.record or {}).get("state", "unknown"))

    @property
    def submits(self) -> list[dict[str, Any]]:
        """What was submitted to image services."""
        return [call for call in self.ledgers.calls if call["operation"] == "submit"]


class World:
    """The parts, and what is done to them."""

    def __init__(
        self,
        lab: Lab,
        settings: Settings,
        clock: WorkflowEnvironment,
        peers: tuple[Relay, Relay, Peer],
    ) -> None:
        self.lab = lab
        self._clock = clock
        self.store, self.odoo, self._notify = peers
        self._s3 = s3_client(settings.storage)
        self._bucket = settings.storage.bucket
        self.client = AsyncDuragenClient(clock.client.service_client.config.target_host)

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: LocalStack, settings: Settings) -> AsyncIterator["World"]:
        """A worker on a fresh time-skipping server, which reaches store and Odoo through relays."""
        async with (
            Relay(stack.s3_url) as store,
            Relay(stack.odoo_url) as odoo,
            listening() as notify,
            await _server() as clock,
            Lab.open(stack, clock.client) as lab,
        ):
            notify.says(answer(200))
            relayed = settings.model_copy(
                update={
                    "storage": settings.storage.model_copy(update={"endpoint_url": store.url}),
                    "odoo": (settings.odoo[0].model_copy(update={"origin": odoo.url}),),
                    "notify": NotifySettings(base_url=notify.url),
                }
            )
            async with working(clock.client, relayed):
                yield cls(lab, settings, clock, (store, odoo, notify))

    async def begin(self, model_id: UUID) -> "TrackedGeneration":
        """Ask Odoo for an image, and start its generation as Odoo does."""
        request = self.lab.request(model_id=model_id, callback_url=self.odoo.url + CALLBACK_PATH)
        await reserve(self.lab, request)
        event = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        await self.client.start(event)
        handle = self._clock.client.get_workflow_handle(
            workflow_id(request.request_id), result_type=Outcome
        )
        return TrackedGeneration(self, request, handle)

    async def wait(self, handle: Handle, seconds: float | None = None) -> None:
        """Let the generation's time pass, by default until it has ended."""
        with suppress(RPCError):  # it has ended already
            await self._clock.fast_forward(handle, seconds)

    async def repair(self) -> None:
        """Store and Odoo work again; the image service when its next faults are used up."""
        self.store.wire = self.odoo.wire = Wire.WHOLE
        await self.lab.break_odoo()

    def image_stands(self, key: str) -> bool:
        """Whether the store has the image; asked without the relay."""
        try:
            self._s3.head_object(Bucket=self._bucket, Key=key)
        except ClientError:
            return False
        return True

    def notified(self, request_id: UUID) -> list[str]:
        """What the user read about it."""
        # A stranger's call at this port has no body that could be read.
        received = [each for each in self._notify.received if each.path.startswith("/notify/")]
        mine = str(request_id)
        return [each.path for each in received if each.json["generationRequestId"] == mine]


async def _server() -> WorkflowEnvironment:
    settings = {
        "frontend.WorkflowTimeSkippingEnabled": "true",
        # A timer that is due fires at once, in place of within a second; the rest as in
        # deploy/local: nothing waits for a tick.
        "history.timerProcessorMaxTimeShift": '"10ms"',
        "history.transferProcessorMaxPollRPS": "2000",
    }
    values = [f"{name}={value}" for name, value in settings.items()]
    return await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        dev_server_extra_args=[a for value in values for a in ("--dynamic-config-value", value)],
        dev_server_log_level="never",
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
        data_converter=pydantic_data_converter,
    )


class TrackedGeneration:
    """One generation in its world."""

    def __init__(self, world: World, request: GenerationRequested, handle: Handle) -> None:
        self._world = world
        self.request = request
        self.handle = handle

    @property
    def event(self) -> dict[str, Any]:
        """EVT-AIG-001 as Odoo sends it."""
        return self.request.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def seen(self) -> Seen:
        """Ask each part."""
        world, request_id = self._world, self.request.request_id
        return Seen(
            (await self.handle.describe()).status,
            await world.lab.view(self.handle),
            await world.lab.ledgers(self.request),
            world.image_stands(image_key(request_id, "png")),
            world.notified(request_id),
        )

    async def rests(self) -> bool:
        """Wait until nothing happens but by time; False when a call waits for the store."""
        before, same = None, 0
        for _ in range(STUCK_LOOKS):
            described = await self.handle.describe()
            if described.status in FINAL:
                return True
            pending = described.raw_description.pending_activities
            now = (described.history_length, [(each.attempt, each.state) for each in pending])
            working = [each for each in pending if _is_under_way(each)]
            if working and self._world.store.wire is Wire.CUT:
                return False
            same = same + 1 if now == before and not working else 0
            if same == QUIET_LOOKS:
                return True
            before = now
            await asyncio.sleep(0.015)
        raise AssertionError(f"it never rests: {now}")


def _is_under_way(activity: PendingActivityInfo) -> bool:
    pausing = activity.attempt > 1
    return activity.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED or not pausing
