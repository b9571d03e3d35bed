"""Records real histories for tests/histories/: `make histories`, after an intended change of flow.

A history is named after what happened and after the day it was recorded; an old one stays for as
long as workflows of its age may be running.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from contracts.alerts import BacklogWatchState
from contracts.errors import DeliveryError, ErrorCode
from contracts.generation import DeliveryTrouble, Failure, GenerationState, Outcome, Parked, Plan
from contracts.names import (
    BACKLOG_WATCH_ID,
    BACKLOG_WATCH_WORKFLOW,
    GENERATION_QUEUE,
    GENERATION_WORKFLOW,
    HEALTH_QUERY,
    PROBE_NOW_UPDATE,
    RETRY_DELIVERY_UPDATE,
    SEND_ALERTS_ACTIVITY,
    WEBHOOK_ID_PREFIX,
    odoo_health_id,
    provider_health_id,
    workflow_id,
)
from contracts.odoo_health import OdooHealthView
from contracts.provider_health import Circuit, ProviderHealthView
from contracts.tasks import DeliveryDecision
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient
from starter.operations.bulk import these
from starter.operations.rerun import Target, rerun
from tests.developers.world import Developer
from tests.lab import Handle, Lab
from tests.workers.worker_process import environment, working_process
from tests.workflows.relay import Relay, Wire

Recording = Callable[[Lab], Awaitable[Handle]]


PARTS = ("temporal", "store", "images", "odoo")


async def _ended(handle: Handle) -> Handle:
    try:
        await handle.result()
    except WorkflowFailureError as error:
        print(f"  {handle.id} ended: {error.cause!r}")
    return handle


async def _happy(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.request()))


async def _flux(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.flux_request()))


async def _refused(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.request(prompt="something forbidden")))


async def _failed(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.request(prompt="sandbox:unauthorized")))


async def _canceled(lab: Lab) -> Handle:
    await lab.break_images({"kind": "hang"})
    handle = await lab.start(lab.request())
    await lab.reaches(handle, GenerationState.GENERATING)
    await handle.cancel()
    return await _ended(handle)


async def _canceled_paid(lab: Lab) -> Handle:
    """Canceled when the service has begun, and may have charged for it."""
    await lab.break_images({"kind": "accept_then_hang"})
    request = lab.request()
    handle = await lab.start(request)
    async with asyncio.timeout(100):
        while not (await lab.ledgers(request)).calls:
            await asyncio.sleep(0.05)
    await handle.cancel()
    return await _ended(handle)


async def _too_late(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.request(cancel_at=_in(timedelta(seconds=-1)))))


async def _webhook(lab: Lab) -> Handle:
    """One attempt fails, and before the next one the webhook is deleted."""
    developer = await Developer.new(lab.stack, lab.http)
    made = (await developer.hooks("POST", "", json={"url": "http://127.0.0.1:1/"})).json()
    path = f"/{made['id']}"
    delivery = (await developer.hooks("POST", f"{path}/test")).json()
    async with asyncio.timeout(120):
        while (await developer.hooks("GET", f"{path}/deliveries")).json()["deliveries"][0][
            "attempts"
        ] < 1:
            await asyncio.sleep(0.1)
    await developer.hooks("DELETE", path)
    return await _ended(lab.client.get_workflow_handle(WEBHOOK_ID_PREFIX + delivery["id"]))


async def _connection(lab: Lab) -> Handle:
    """An Odoo's connection test: one model is known, another is not; the callback is taken."""
    client = AsyncDuragenClient(lab.stack.temporal_address)
    models = [str(OPENAI_MODEL_ID), str(uuid4())]
    url = lab.stack.odoo_url + CALLBACK_PATH
    async with asyncio.timeout(120):
        while True:
            ids = {"testId": str(uuid4()), "correlationId": str(uuid4())}
            found = await client.test_connection({**ids, "modelIds": models, "callbackUrl": url})
            if found["answered"]:  # else the worker polls not yet
                return await _ended(lab.client.get_workflow_handle(found["workflowId"]))
            await asyncio.sleep(0.1)


async def _parked(lab: Lab) -> Handle:
    """Parked, and still open: as running ones are when the code changes."""
    await lab.break_odoo(status=404)
    handle = await lab.start(lab.request())
    await lab.reaches(handle, GenerationState.PARKED)
    return handle


async def _redelivered(lab: Lab) -> Handle:
    handle = await _parked(lab)
    await lab.clear_faults()
    await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="recorder"))
    return await _ended(handle)


async def _continued(lab: Lab) -> Handle:
    """One that was parked for long, in the run that continues it."""
    request = lab.request()
    taken = Failure(code=ErrorCode.PROVIDER_UNAVAILABLE, detail="answered 503")
    trouble = DeliveryTrouble(
        code=DeliveryError.ODOO_REFUSED,
        detail="answered 404",
        attempts=70,
        since=_in(timedelta(days=-3)),
        next_try=_in(timedelta(seconds=3)),
    )
    plan = Plan(odoo=lab.stack.odoo_url)
    handle: Handle = await lab.client.start_workflow(
        GENERATION_WORKFLOW,
        args=[request, Parked(plan=plan, outcome=Outcome(failure=taken), trouble=trouble)],
        id=workflow_id(request.request_id),
        task_queue=GENERATION_QUEUE,
        result_type=Outcome,
    )
    return await _ended(handle)


async def _failed_over(lab: Lab) -> Handle:
    await lab.break_images({"kind": "status", "status": 402})
    return await _ended(await lab.start(lab.two_routes_request()))


async def _rerun(lab: Lab) -> Handle:
    """Failed, reset to its first workflow task, completed."""
    await lab.break_images(always={"kind": "status", "status": 401})
    handle = await _ended(await lab.start(lab.request()))
    await lab.clear_faults()
    targets = these([Target(handle.id)])
    async for each in rerun(lab.client, targets, DeliveryDecision(by="recorder")):
        print(f"  {each.result} {each.detail}")
    return await _ended(lab.client.get_workflow_handle(handle.id, result_type=Outcome))


async def _storing(lab: Lab) -> Handle:
    """The store is away before the paid call, and refuses what is paid for; then it takes it."""
    async with Relay(lab.stack.s3_url) as store:
        with tempfile.TemporaryDirectory() as folder:
            env = environment(
                lab.stack,
                DURAGEN_STORAGE__ENDPOINT_URL=store.url,
                DURAGEN_WORKER__SPOOL_DIR=str(Path(folder) / "spool"),
            )
            async with working_process(Path(folder), env) as worker:
                await worker.answers("/health/ready")
                await lab.outcome(lab.request())  # it knows the store's ways
                store.wire = Wire.CUT
                handle = await lab.start(lab.request())
                while not (await lab.view(handle)).waits_for:
                    await asyncio.sleep(0.2)
                store.wire = Wire.READS
                await lab.reaches(handle, GenerationState.STORING)
                store.wire = Wire.WHOLE
                return await _ended(handle)


async def _provider_health(lab: Lab) -> Handle:
    """Opened by a refused key, probed, half-open, closed by a success."""
    await lab.break_images(always={"kind": "status", "status": 401})
    await _ended(await lab.start(lab.request()))
    handle = lab.client.get_workflow_handle(provider_health_id("openai"))
    await _turns(handle, Circuit.OPEN)
    await lab.clear_faults()
    await _turns(handle, Circuit.HALF_OPEN)
    await lab.outcome(lab.request())
    await _turns(handle, Circuit.CLOSED)
    return handle


async def _odoo_away(lab: Lab) -> tuple[Handle, Handle]:
    """Odoo's health workflow, and a generation that was held: away, a trial in vain, back."""
    await lab.break_odoo(status=503)
    handles = [await lab.start(lab.request()) for _ in range(4)]
    for each in handles:
        await lab.reaches(each, GenerationState.PARKED)
    held = await lab.start(lab.request())
    await lab.reaches(held, GenerationState.PARKED)
    health: Handle = lab.client.get_workflow_handle(odoo_health_id(lab.stack.odoo_url))
    view: OdooHealthView = await health.execute_update(PROBE_NOW_UPDATE, result_type=OdooHealthView)
    await lab.clear_faults()
    await _ended(held)
    while view.away_since or view.releasing:
        await asyncio.sleep(0.5)
        view = await health.query(HEALTH_QUERY, result_type=OdooHealthView)
    return health, held


async def _odoo_health(lab: Lab) -> Handle:
    return (await _odoo_away(lab))[0]


async def _held(lab: Lab) -> Handle:
    return (await _odoo_away(lab))[1]


async def _backlog_watch(lab: Lab) -> Handle:
    """Raised an alert for a parked one, and resolved it."""
    await lab.client.get_workflow_handle(BACKLOG_WATCH_ID).terminate("it has seen other recordings")
    watch: Handle = await lab.client.start_workflow(
        BACKLOG_WATCH_WORKFLOW,
        BacklogWatchState(),
        id=BACKLOG_WATCH_ID,
        task_queue=GENERATION_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,  # the worker starts it as well
    )
    parked = await _parked(lab)
    await _sends_alerts(watch, 1)
    await lab.clear_faults()
    await parked.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="recorder"))
    await _ended(parked)
    await _sends_alerts(watch, 2)
    return lab.client.get_workflow_handle(BACKLOG_WATCH_ID)


async def _sends_alerts(watch: Handle, times: int) -> None:
    """Wait until it has sent alerts so often."""
    async with asyncio.timeout(120):
        while True:
            sent = [
                event
                async for event in watch.fetch_history_events()
                if event.activity_task_scheduled_event_attributes.activity_type.name
                == SEND_ALERTS_ACTIVITY
            ]
            if len(sent) >= times:
                return
            await asyncio.sleep(0.5)


async def _turns(handle: Handle, circuit: Circuit) -> None:
    async with asyncio.timeout(120):
        while True:
            with suppress(RPCError):  # nothing was reported yet
                view = await handle.query(HEALTH_QUERY, result_type=ProviderHealthView)
                if view.circuit is circuit:
                    return
            await asyncio.sleep(0.2)


def _in(time: timedelta) -> str:
    return (datetime.now(UTC) + time).isoformat()


RECORDINGS = {
    "happy": _happy,
    "flux": _flux,
    "refused": _refused,
    "failed": _failed,
    "canceled": _canceled,
    "canceled_paid": _canceled_paid,
    "too_late": _too_late,
    "redelivered": _redelivered,
    "continued": _continued,
    "failed_over": _failed_over,
    "rerun": _rerun,
    "provider_health": _provider_health,
    "odoo_health": _odoo_health,
    "held": _held,
    "backlog_watch": _backlog_watch,
    "connection": _connection,
    "parked": _parked,
}
"""On a stack with a notification service. The last one stays parked, and counts for no other."""

WITHOUT_NOTIFICATIONS = {"without_notifications": _happy}
"""On a stack whose settings name no notification service."""

WITH_API_USERS = {"webhook": _webhook}
"""On a stack whose Odoo has them."""

WITH_A_WORKER_OF_THEIR_OWN = {"storing": _storing}
"""On a stack without a worker: theirs reaches the store through a wire that can be cut."""


async def record(folder: Path) -> None:
    """Run each recording once, and write its history."""
    folder.mkdir(parents=True, exist_ok=True)
    await _record(folder, RECORDINGS, (*PARTS, "worker", "notifications"))
    await _record(folder, WITHOUT_NOTIFICATIONS, (*PARTS, "worker"))
    await _record(folder, WITH_API_USERS, (*PARTS, "worker", "gateway"))
    await _record(folder, WITH_A_WORKER_OF_THEIR_OWN, (*PARTS, "notifications"))


async def _record(folder: Path, recordings: Mapping[str, Recording], parts: Iterable[str]) -> None:
    day = datetime.now(UTC).strftime("%Y%m%d")
    with tempfile.TemporaryDirectory() as home, LocalStack(Path(home), tuple(parts)) as stack:
        client = await Client.connect(
            stack.temporal_address, data_converter=pydantic_data_converter
        )
        for name, recording in recordings.items():
            async with Lab.open(stack, client) as lab:
                handle = await recording(lab)
                history = await handle.fetch_history()
            (folder / f"{name}.{day}.json").write_text(without_machine(history.to_json()) + "\n")
            print(f"{name}: {len(history.events)} events")


def without_machine(history: str) -> str:
    """The history without its machine: folders in stack traces, the worker's process and host."""
    traceless = re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', history)
    return re.sub(r'"\d+@[^"]*"', '"worker"', traceless)


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
