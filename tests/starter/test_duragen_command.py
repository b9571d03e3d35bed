"""The command `duragen`, as a process against a real server: output and exit codes."""

import asyncio
import json
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client

from starter.cli import app
from starter.client import AsyncDuragenClient
from tests.ports import free_port
from tests.starter.entry_points import (
    KEY,
    duragen,
    make_event,
)

RUNS = 10


async def test_help_lists_every_command_without_importing_one() -> None:
    """`duragen --help` shows the table; the SDK is not loaded for it."""
    done = await duragen("--help")
    assert done.code == 0
    assert all(name in done.out for name in app.COMMANDS)
    probe = (
        "import sys; from starter.cli.app import run; run(['--help'])\n"
        "print([m for m in ('temporalio', 'fastapi', 'workers', 'deploy') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", probe, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().splitlines()[-1] == "[]"


async def test_an_unknown_command_is_wrong_usage() -> None:
    """Exit 2, and the nearest command is named."""
    done = await duragen("statsu")
    assert done.code == 2
    assert "status" in done.err


async def test_submit_prints_the_ids(address: str, client: AsyncDuragenClient) -> None:
    """Options make an event; the ids that are printed lead to the generation."""
    event = make_event()
    options = ["--prompt", "a tower", "--model", event["modelId"], "--resolution", "1280x720"]
    options += ["--callback-url", event["callbackUrl"], "--seed", "3", "--json"]
    done = await duragen("submit", *options, TEMPORAL_ADDRESS=address)
    assert done.code == 0, done.err
    ids = json.loads(done.out)
    assert (await client.status(ids["requestId"]))["workflowId"] == ids["workflowId"]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("stdin", [True, False])
async def test_submit_reads_an_event(
    address: str, tmp_path: Path, mark: str, *, stdin: bool
) -> None:
    """A file or stdin gives the event, as any editor saves it; its request id is kept."""
    event = make_event()
    text = mark + json.dumps(event)
    file = tmp_path / "event.json"
    file.write_text(text, "utf-8")
    source = "-" if stdin else str(file)
    done = await duragen("submit", source, stdin=text, TEMPORAL_ADDRESS=address)
    assert (done.code, event["requestId"] in done.out) == (0, True)


async def test_submit_through_the_gateway(gateway: str) -> None:
    """With --gateway no access to Temporal is needed."""
    where = {"DURAGEN_GATEWAY_URL": gateway, "DURAGEN_GATEWAY_KEY": KEY}
    event = json.dumps(make_event())
    assert (await duragen("submit", "-", stdin=event, **where)).code == 0
    assert (await duragen("status", json.loads(event)["requestId"], **where)).code == 0


async def test_a_bad_event_is_wrong_usage(address: str) -> None:
    """Exit 2, one line for each bad field."""
    done = await duragen("submit", "--prompt", "x", TEMPORAL_ADDRESS=address)
    assert done.code == 2
    assert "duragen: modelId: is required" in done.err.splitlines()


@pytest.mark.parametrize("command", ["status", "watch", "cancel"])
async def test_nobody_there_is_3(command: str) -> None:
    """Exit 3 and one line that says who was asked, in a few seconds."""
    address = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(10):
        done = await duragen(command, str(uuid4()), TEMPORAL_ADDRESS=address)
    assert done.code == 3
    assert len(done.err.splitlines()) == 1
    assert address in done.err


async def test_a_wrong_key_is_6(gateway: str) -> None:
    """Exit 6 for a key the gateway does not know."""
    done = await duragen("status", str(uuid4()), "--gateway", gateway, "--key", "wrong")
    assert done.code == 6


async def test_another_payload_is_5(address: str, client: AsyncDuragenClient) -> None:
    """Exit 5 for a request id that is taken."""
    event = make_event()
    await client.start(event)
    changed = json.dumps({**event, "prompt": "else"})
    assert (await duragen("submit", "-", stdin=changed, TEMPORAL_ADDRESS=address)).code == 5


async def test_watch_ends_at_its_timeout(address: str, client: AsyncDuragenClient) -> None:
    """Exit 7 after --timeout; the generation is not touched."""
    event = make_event()
    await client.start(event)
    done = await duragen("watch", event["requestId"], "--timeout", "0", TEMPORAL_ADDRESS=address)
    assert done.code == 7


async def test_cancel_reaches_the_workflow(
    address: str, client: AsyncDuragenClient, temporal: Client
) -> None:
    """`cancel` takes a workflow id too, and asks for the cancellation."""
    started = await client.start(make_event())
    done = await duragen("cancel", started.workflow_id, TEMPORAL_ADDRESS=address)
    assert (done.code, done.out) == (0, "cancellation requested\n")
    history = await temporal.get_workflow_handle(started.workflow_id).fetch_history()
    kinds = [event.WhichOneof("attributes") for event in history.events]
    assert "workflow_execution_cancel_requested_event_attributes" in kinds


async def test_the_exit_code_is_right_every_time(address: str, client: AsyncDuragenClient) -> None:
    """Ten runs, ten right codes: the SDK's threads do not kill the process on its way out."""
    started = await client.start(make_event())
    await client.cancel(started.request_id)
    ids = [started.request_id if run % 2 else str(uuid4()) for run in range(RUNS)]
    at_once = asyncio.Semaphore(2)

    async def code(generation: str) -> int | None:
        async with at_once:
            return (await duragen("cancel", generation, TEMPORAL_ADDRESS=address)).code

    codes = await asyncio.gather(*map(code, ids))
    assert codes == [0 if run % 2 else 4 for run in range(RUNS)]
