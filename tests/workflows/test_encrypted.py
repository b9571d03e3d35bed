"""Encrypted generations on the real server, with workers that have the key and workers without."""

import asyncio
import json

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.service import RPCError

from contracts.generation import GenerationState
from contracts.names import (
    HEALTH_QUERY,
    RETRY_DELIVERY_UPDATE,
    SPOOL_NEWS_SIGNAL,
    provider_health_id,
)
from deploy.local.stack.local_stack import LocalStack
from peers import temporal
from peers.encryption import KEYS_VARIABLE, EncryptionError, new_key
from starter.client import AsyncDuragenClient, SetupError
from starter.operations.connection import errors_translated
from tests.lab import Handle, Lab, working
from workers.doctor.command import examine
from workers.replay.command import replay_one
from workers.settings import Settings

OLD, NEW = f"old:{new_key()}", f"new:{new_key()}"

MAX_HISTORY_BYTES = 12 * 1024
"""As in clear: DESIGN, "Budget"."""


class Keys:
    """Connects as each of our processes does, with the keys that it is given."""

    def __init__(self, stack: LocalStack, patch: pytest.MonkeyPatch) -> None:
        self._stack = stack
        self._patch = patch

    async def client(self, keys: str) -> Client:
        """As worker, gateway and commands."""
        self._patch.setenv("TEMPORAL_ADDRESS", self._stack.temporal_address)
        self._patch.setenv(KEYS_VARIABLE, keys)
        return await temporal.connect()

    def starter(self, keys: str) -> AsyncDuragenClient:
        """As Odoo."""
        return AsyncDuragenClient(self._stack.temporal_address, encryption_keys=keys)


@pytest.fixture
def keys(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Of this test."""
    return Keys(stack, monkeypatch)


def _encodings(history: WorkflowHistory) -> set[str]:
    """Of all payloads but those in clear: trace ids, search attributes, when a marker was made."""
    found: set[str] = set()

    def look(value: object, own: str = "") -> None:
        if isinstance(value, dict):
            if "metadata" in value and "encoding" in value["metadata"]:
                found.add(value["metadata"]["encoding"])
            for name, inner in value.items():
                if name not in {"header", "searchAttributes"} and name != own:
                    look(inner, own="data" if name == "details" else "")
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(json.loads(history.to_json()))
    return found


async def test_every_payload_is_encrypted(lab: Lab, settings: Settings, keys: Keys) -> None:
    """Input, plan, results, memo, summaries; the client reads them, and so does replay."""
    client, starter = await keys.client(OLD), keys.starter(OLD)
    event = lab.request().model_dump(mode="json", by_alias=True, exclude_none=True)
    async with working(client, settings):
        started = await starter.start(event)
        assert await starter.result(started.request_id, timeout=100)
    assert not (await starter.start(event)).created
    handle = client.get_workflow_handle(started.workflow_id)
    history = await handle.fetch_history()
    assert _encodings(history) == {"YmluYXJ5L2VuY3J5cHRlZA=="}  # binary/encrypted in base64
    described = await handle.describe()
    assert described.raw_description.workflow_execution_info.history_size_bytes < MAX_HISTORY_BYTES
    assert (await replay_one(history)).divergence is None


async def test_without_the_key_replay_says_which(lab: Lab, settings: Settings, keys: Keys) -> None:
    """A history that was taken home, and not the key."""
    client = await keys.client(OLD)
    async with working(client, settings):
        handle = await Lab(lab.stack, client, lab.http).start(lab.request())
        await handle.result()
    history = await handle.fetch_history()
    for others in (NEW, ""):
        await keys.client(others)
        with pytest.raises(EncryptionError, match="old"):
            await replay_one(history)


async def test_switched_on_and_rotated_under_load(lab: Lab, settings: Settings, keys: Keys) -> None:
    """A generation that began in clear ends encrypted, and with the next key; nothing is lost."""
    in_clear, reading = await keys.client(""), await keys.client(f"clear,{OLD}")
    await lab.break_odoo(status=404)
    handle = await Lab(lab.stack, in_clear, lab.http).start(lab.request())
    async with working(reading, settings):
        await Lab(lab.stack, reading, lab.http).reaches(handle, GenerationState.PARKED)
    last: Handle = handle
    for each in (OLD, f"{OLD},{NEW}", f"{NEW},{OLD}"):
        client = await keys.client(each)
        async with working(client, settings):
            last = client.get_workflow_handle(handle.id, result_type=handle._result_type)
            await Lab(lab.stack, client, lab.http).reaches(last, GenerationState.PARKED)
            # The decision is written with the key of its time.
            await last.execute_update(RETRY_DELIVERY_UPDATE, {"by": "a test", "reason": each[:3]})
    await lab.break_odoo()
    client = await keys.client(f"{NEW},{OLD}")
    async with working(client, settings):
        last = client.get_workflow_handle(handle.id, result_type=handle._result_type)
        await last.execute_update(RETRY_DELIVERY_UPDATE, {"by": "a test", "reason": "it is back"})
        async with asyncio.timeout(100):
            assert (await last.result()).state is GenerationState.COMPLETED


async def _task_failed(handle: Handle) -> None:
    """Until a workflow task of it has failed."""
    wanted = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    async with asyncio.timeout(100):
        while not any(e.event_type == wanted for e in (await handle.fetch_history()).events):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("others", [NEW, ""], ids=["another key", "no key"])
async def test_a_worker_without_the_key_fails_no_workflow(
    lab: Lab, settings: Settings, keys: Keys, others: str
) -> None:
    """Its workflow task fails and is tried again, until a worker with the key takes it."""
    client, request = await keys.client(OLD), lab.request()
    handle = await Lab(lab.stack, client, lab.http).start(request)
    async with working(await keys.client(others), settings):
        await _task_failed(handle)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    async with working(client, settings), asyncio.timeout(100):
        assert (await handle.result()).state is GenerationState.COMPLETED
    assert (await lab.ledgers(request)).paid == 1


async def test_a_client_without_the_key_learns_which(
    lab: Lab, settings: Settings, keys: Keys
) -> None:
    """`status` of an encrypted generation; a wrong key is an error at the first call."""
    client = await keys.client(OLD)
    async with working(client, settings):
        handle = await Lab(lab.stack, client, lab.http).start(lab.request())
        await handle.result()
    for others in (NEW, ""):
        with pytest.raises(SetupError, match="old"):
            await keys.starter(others).status(handle.id)
    with pytest.raises(SetupError, match="not 32 bytes"):
        await keys.starter("a:AAAA").ping()


async def test_a_pending_calls_heartbeat_and_failure_are_read(
    lab: Lab, settings: Settings, keys: Keys
) -> None:
    """`status` shows why the attempt before failed, although the server holds it encrypted."""
    client, starter = await keys.client(OLD), keys.starter(OLD)
    await lab.break_images({"kind": "status", "status": 503}, {"kind": "hang"})
    async with working(client, settings):
        handle = await Lab(lab.stack, client, lab.http).start(lab.request())
        async with asyncio.timeout(100):
            while not (pending := (await starter.status(handle.id))["activities"]) or (
                pending[0]["attempt"] < 2 or not pending[0]["heartbeat"]
            ):
                await asyncio.sleep(0.1)
        raw = (await handle.describe()).raw_description.pending_activities[0]
        await handle.terminate("seen")
    assert raw.last_failure.message == "Encoded failure"
    assert "503" in pending[0]["lastFailure"]
    assert set(pending[0]["heartbeat"][0])


async def test_a_signal_is_not_dropped_by_a_worker_with_another_key(
    lab: Lab, settings: Settings, keys: Keys
) -> None:
    """The SDK drops a signal that it cannot convert: the task has to fail before that."""
    in_clear, client = await keys.client(""), await keys.client(OLD)
    await lab.break_odoo(status=404)
    handle = await Lab(lab.stack, in_clear, lab.http).start(lab.request())
    async with working(in_clear, settings):
        await Lab(lab.stack, in_clear, lab.http).reaches(handle, GenerationState.PARKED)
    await client.get_workflow_handle(handle.id).signal(SPOOL_NEWS_SIGNAL, {"sha256": "ab"})
    async with working(await keys.client(NEW), settings):
        await _task_failed(handle)
    await handle.terminate("seen")


async def test_an_operators_list_without_the_key_says_which(
    lab: Lab, settings: Settings, keys: Keys
) -> None:
    """`duragen parked` shows why each is parked; that stands encrypted with the generation."""
    client = await keys.client(OLD)
    await lab.break_odoo(status=404)
    async with working(client, settings):
        handle = await Lab(lab.stack, client, lab.http).start(lab.request())
        await Lab(lab.stack, client, lab.http).reaches(handle, GenerationState.PARKED)
    others = await keys.client(NEW)
    with pytest.raises(SetupError, match="old"), errors_translated():
        await (await others.get_workflow_handle(handle.id).describe()).memo()
    await handle.terminate("seen")


async def test_the_doctor_without_the_key_goes_on_and_says_which(
    lab: Lab, settings: Settings, keys: Keys
) -> None:
    """What a health workflow answers is encrypted; the lines after it come all the same."""
    client = await keys.client(OLD)
    lab = Lab(lab.stack, client, lab.http)
    async with working(client, settings):
        await lab.start(lab.request())
        health = client.get_workflow_handle(provider_health_id("openai"))
        async with asyncio.timeout(100):
            while not await _answers(health):
                await asyncio.sleep(0.1)
        await keys.client(NEW)
        found = {each.what: each async for each in examine(settings)}
        assert "'old'" in found["health of openai"].found
        assert KEYS_VARIABLE in found["health of openai"].fix
        assert "stuck workflows" in found


async def _answers(health: Handle) -> bool:
    try:
        await health.query(HEALTH_QUERY)
    except RPCError:  # not there yet
        return False
    return True
