"""Every command of `duragen` shows what others wrote, and no terminal obeys it."""

import ast
import asyncio
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from uuid import uuid4

import pytest
from markdown_it import MarkdownIt
from temporalio.client import Client

from contracts.generation import GenerationState
from contracts.names import (
    GENERATION_QUEUE,
    GENERATION_STATUS,
    ODOO_HEALTH_WORKFLOW,
    odoo_health_id,
    workflow_id,
)
from contracts.odoo_health import OdooHealthState
from starter.cli.app import COMMANDS
from starter.client import AsyncDuragenClient
from tests.activities.http_peer import Received, answer, listening
from tests.starter.entry_points import ODOO, Done, duragen, fresh_namespace, make_event
from tests.starter.hostile import HOSTILE, REFUSED_URL, faults_of, status, working

ROOT = Path(__file__).parents[2]
OF_RICH = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)|\r")
"""Colours, the cursor hidden and shown, a line erased, one line up."""
FILE_NAME = f"MARK {HOSTILE.replace('/', '_')[:110]}"


class Scene(NamedTuple):
    """Who says hostile things: a gateway, generations that wait for a person, services."""

    gateway: dict[str, str]
    temporal: dict[str, str]
    services: dict[str, str]
    parked: str
    failed: str
    folder: Path


@pytest.fixture(scope="module")
async def scene(server: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """All of them; the generations are in a namespace of their own."""
    address = server.client.service_client.config.target_host  # type: ignore[attr-defined]
    temporal = await fresh_namespace(address)
    client = AsyncDuragenClient(address, temporal.namespace)
    parked = make_event(callbackUrl=REFUSED_URL)
    failed = make_event()
    async with working(temporal), listening() as gateway, listening() as peer:
        gateway.says(_says)
        peer.says(_raises)
        for event, state in ((parked, GenerationState.PARKED), (failed, GenerationState.FAILED)):
            await client.start(event)
            await _listed(temporal, event["requestId"], state)
        await temporal.start_workflow(
            ODOO_HEALTH_WORKFLOW,
            OdooHealthState(odoo=ODOO, streak=1, detail=HOSTILE),
            id=odoo_health_id(ODOO),
            task_queue=GENERATION_QUEUE,
        )
        found = {"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": temporal.namespace}
        yield Scene(
            gateway={"DURAGEN_GATEWAY_URL": gateway.url, "DURAGEN_GATEWAY_KEY": "a-key"},
            temporal=found,
            services={**found, **_settings(peer.url)},
            parked=parked["requestId"],
            failed=failed["requestId"],
            folder=tmp_path_factory.mktemp("hostile"),
        )


async def _says(received: Received, *connection: object) -> None:
    """The gateway: a status, a refusal with hostile fields, a conflict."""
    if received.method == "GET":
        said = answer(200, status())
    elif received.method == "POST":
        fault = {"field": HOSTILE, "rule": HOSTILE, "message": HOSTILE}
        problem = {"type": "urn:duragen:problem:invalid_event", "detail": HOSTILE}
        said = answer(422, {**problem, "errors": [fault]})
    else:
        said = answer(409, {"type": "urn:duragen:problem:conflict", "detail": HOSTILE})
    await said(received, *connection)  # type: ignore[arg-type]


async def _raises(received: Received, *connection: object) -> None:
    """Store, provider and Odoo: an error with hostile text, once the version of Odoo is known."""
    error = {"message": HOSTILE, "data": {"message": HOSTILE, "name": HOSTILE}}
    known = {"result": {"server_version": "19.0"}}
    if "prefix=" in received.path:  # the store is asked which images it has
        key = f"<Key>{quote(HOSTILE)}</Key><VersionId>1</VersionId><Size>1</Size>"
        key += "<LastModified>2026-11-26T00:00:00.000Z</LastModified>"
        found = f"<Contents>{key}</Contents><Version>{key}</Version>"
        body = f"<A><EncodingType>url</EncodingType>{found}</A>"
        await answer(200, body)(received, *connection)  # type: ignore[arg-type]
        return
    said = known if received.path.endswith("version_info") else {"error": error}
    await answer(200, said)(received, *connection)  # type: ignore[arg-type]


async def _listed(temporal: Client, request_id: str, state: GenerationState) -> None:
    query = f"WorkflowId = '{workflow_id(request_id)}' AND {GENERATION_STATUS} = '{state}'"
    while not (await temporal.count_workflows(query)).count:
        pass


def _settings(url: str) -> dict[str, str]:
    """Of a worker whose store, provider and Odoo are all at `url`."""
    account = dict.fromkeys(("database", "login", "password"), "duragen")
    return {
        "DURAGEN_STORAGE__BUCKET": "images",
        "DURAGEN_STORAGE__ENDPOINT_URL": url,
        "DURAGEN_STORAGE__ACCESS_KEY_ID": "id",
        "DURAGEN_STORAGE__SECRET_ACCESS_KEY": "a-key",
        "DURAGEN_PROVIDERS__FAR__KIND": "openai",
        "DURAGEN_PROVIDERS__FAR__BASE_URL": url,
        "DURAGEN_PROVIDERS__FAR__API_KEY": "a-key",
        "DURAGEN_ODOO": json.dumps([{"origin": url, "delivery": "odoorpc", **account}]),
    }


async def _gateways(scene: Scene, *arguments: str) -> Done:
    return await duragen(*arguments, **scene.gateway)


async def _status(scene: Scene) -> list[Done]:
    here = [
        await duragen("status", each, **scene.temporal) for each in (scene.parked, scene.failed)
    ]
    ways = ([], ["--json"])
    return [*here, *[await _gateways(scene, "status", str(uuid4()), *way) for way in ways]]


async def _watch(scene: Scene) -> list[Done]:
    ended = await duragen("watch", scene.failed, **scene.temporal)
    return [ended, await _gateways(scene, "watch", str(uuid4()))]


async def _cancel(scene: Scene) -> list[Done]:
    return [await _gateways(scene, "cancel", str(uuid4()))]


async def _submit(scene: Scene) -> list[Done]:
    event = json.dumps(make_event())
    return [await duragen("submit", "-", stdin=event, **scene.gateway)]


async def _lists(scene: Scene, command: str) -> list[Done]:
    return [await duragen(command, *way, **scene.temporal) for way in ([], ["--json"])]


async def _parked(scene: Scene) -> list[Done]:
    return await _lists(scene, "parked")


async def _failed(scene: Scene) -> list[Done]:
    return await _lists(scene, "failed")


async def _redeliver(scene: Scene) -> list[Done]:
    return [await duragen("redeliver", scene.parked, **scene.temporal)]


async def _abandon(scene: Scene) -> list[Done]:
    return [await duragen("abandon", FILE_NAME, "--reason", "x", **scene.temporal)]


async def _rerun(scene: Scene) -> list[Done]:
    return [await duragen("rerun", FILE_NAME, **scene.temporal)]


async def _replay(scene: Scene) -> list[Done]:
    history = scene.folder / f"{FILE_NAME}.json"
    shutil.copy(next((ROOT / "tests/histories").glob("failed.*.json")), history)
    none = scene.folder / f"{FILE_NAME}.txt"
    none.write_text(json.dumps({"events": HOSTILE}))
    return [await duragen("replay", "--file", str(file)) for file in (history, none)]


async def _doctor(scene: Scene) -> list[Done]:
    return [await duragen("doctor", **scene.services)]


async def _wrong_settings(scene: Scene, command: str) -> list[Done]:
    file = scene.folder / "wrong.toml"
    key = json.dumps(HOSTILE.replace("\U000e0041", ""))  # TOML has no escapes by pairs
    tables = ("gateway", "worker", "codec", "rabbitmq")
    file.write_text("".join(f"[{table}]\n{key} = 1\n" for table in tables))
    return [await duragen(*command.split(), DURAGEN_CONFIG=str(file))]


async def _worker(scene: Scene) -> list[Done]:
    return await _wrong_settings(scene, "worker")


async def _gateway(scene: Scene) -> list[Done]:
    return await _wrong_settings(scene, "gateway")


async def _codec(scene: Scene) -> list[Done]:
    return await _wrong_settings(scene, "codec")


async def _rabbitmq(scene: Scene) -> list[Done]:
    return await _wrong_settings(scene, "rabbitmq")


async def _deadletters(scene: Scene) -> list[Done]:
    """What others put into a letter is shown to the real broker's, in `tests/rabbitmq`."""
    return await _wrong_settings(scene, "deadletters list")


async def _erase(scene: Scene) -> list[Done]:
    wrong = await duragen("erase", FILE_NAME, **scene.services)
    return [wrong, await duragen("erase", scene.failed, **scene.services)]


async def _logs(scene: Scene) -> list[Done]:
    (scene.folder / "logs").mkdir(exist_ok=True)
    log = scene.folder / "logs" / "worker.log"
    log.write_text(HOSTILE.replace("\n", " "), "utf-8", "ignore")
    return [await duragen("logs", "worker", "--home", str(scene.folder))]


async def _up(scene: Scene) -> list[Done]:
    return [await duragen("up", "--without", HOSTILE, "--home", str(scene.folder / "up"))]


async def _demo(scene: Scene) -> list[Done]:
    file = scene.folder / f"{FILE_NAME} a file"
    file.touch()
    return [await duragen("demo", "--home", str(file))]


SCENES = {
    "up": _up,
    "logs": _logs,
    "demo": _demo,
    "submit": _submit,
    "status": _status,
    "watch": _watch,
    "cancel": _cancel,
    "parked": _parked,
    "redeliver": _redeliver,
    "abandon": _abandon,
    "failed": _failed,
    "rerun": _rerun,
    "replay": _replay,
    "doctor": _doctor,
    "worker": _worker,
    "gateway": _gateway,
    "codec": _codec,
    "rabbitmq": _rabbitmq,
    "deadletters": _deadletters,
    "erase": _erase,
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_no_command_obeys_what_it_shows(scene: Scene, command: str) -> None:
    """Each has a scene here, shows the text all the same, and shows it on its line."""
    for done in await SCENES[command](scene):
        said = done.out + done.err
        assert faults_of(said) == [], said
        assert "MARK" in said


def _on_a_terminal(*arguments: str, **environment: str) -> str:
    """What `duragen` writes to a wide terminal of its own."""
    ours, its = pty.openpty()
    program = [sys.executable, "-m", "starter.cli", *arguments]
    known = {"PATH": os.environ["PATH"], "COLUMNS": "2000", "TERM": "xterm-256color"}
    running = subprocess.Popen(
        program, env=known | environment, cwd=ROOT, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    said = b""
    with running, os.fdopen(ours, "rb", buffering=0) as screen, suppress(OSError):
        while part := screen.read(65_536):  # EIO: nobody has the terminal any more
            said += part
    return said.decode()


async def test_a_progress_bar_obeys_nothing(scene: Scene) -> None:
    """On a terminal rich steers it: by its own sequences alone, colours and lines redrawn."""
    said = await asyncio.to_thread(_on_a_terminal, "watch", str(uuid4()), **scene.gateway)
    assert "\x1b[?25l" in said
    plain = OF_RICH.sub("", said)
    assert faults_of(plain) == [], plain
    assert "MARK" in plain


async def test_details_hold_no_live_markdown(scene: Scene) -> None:
    """What the Web UI shows of a generation: no link, image or HTML of others, no forged line."""
    client = await Client.connect(
        scene.temporal["TEMPORAL_ADDRESS"], namespace=scene.temporal["TEMPORAL_NAMESPACE"]
    )
    generations = [workflow_id(each) for each in (scene.parked, scene.failed)]
    for each in (*generations, odoo_health_id(ODOO)):
        handle = client.get_workflow_handle(each)
        shown = (await handle.query("__temporal_workflow_metadata")).current_details
        assert faults_of(shown) == []
        assert "MARK" in shown
        tokens = MarkdownIt("commonmark", {"html": True}).parse(shown)
        children = [child for token in tokens for child in token.children or ()]
        live = {"link_open", "image", "html_inline", "html_block"}
        assert live.isdisjoint(token.type for token in (*tokens, *children))


TRACEBACKS = {
    "a command, with DURAGEN_DEBUG": """
from starter.cli import app
app.COMMANDS["doctor"] = app.Entry("tests.starter.hostile:broken", "")
sys.argv = ["duragen", "doctor"]
main()
""",
    "a program": "run_and_leave(broken)",
    "a program that ends with a text": "run_and_leave(lambda: sys.exit(HOSTILE))",
}


@pytest.mark.parametrize("ends", TRACEBACKS)
async def test_a_traceback_is_not_obeyed(ends: str) -> None:
    """It quotes what others wrote; its lines are many, so that one more may be theirs."""
    program = f"""
import sys
from starter.cli import main
from starter.leaving import run_and_leave
from tests.starter.hostile import HOSTILE, broken
{TRACEBACKS[ends]}
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={"PATH": os.environ["PATH"], "DURAGEN_DEBUG": "1"},
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    said = (await process.communicate())[1].decode()
    assert process.returncode in {1, 70}
    assert [each for each in faults_of(said) if "FORGED" not in each] == []
    assert "MARK" in said
    assert ("in broken" in said) == ("with a text" not in ends)


TERMINALS = {
    "peers/terminal.py": "the one place",
    "starter/leaving.py": "runs before it is known whether our packages are ours; plain by itself",
    "deploy/local/n8n/install.py": "a tool of the tests",
    "deploy/local/real_odoo/install.py": "a tool of the tests",
    "deploy/local/real_odoo/addon_tests.py": "a tool of the tests",
}
WRITES = {
    *("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write", "Console"),
    *("traceback.print_exc", "traceback.print_exception"),
}


def test_nothing_else_writes_to_a_terminal() -> None:
    """A new command cannot forget it: there is one module that writes."""
    writers = set()
    for package in ("contracts", "workflows", "activities", "peers", "workers", "starter", "otel"):
        writers |= {file for file in (ROOT / package).rglob("*.py") if _writes(file)}
    writers |= {file for file in (ROOT / "deploy/local").rglob("*.py") if _writes(file)}
    assert {str(file.relative_to(ROOT)) for file in writers} == set(TERMINALS)


def _writes(file: Path) -> bool:
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return any(ast.unparse(call.func) in WRITES for call in calls)
