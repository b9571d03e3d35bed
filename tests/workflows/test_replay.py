"""Histories of real runs, replayed against today's code."""

import asyncio
import inspect
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from contracts.names import GENERATION_WORKFLOW
from tests.lab import Lab
from tests.record_histories import RECORDINGS, WITHOUT_NOTIFICATIONS, without_machine
from tests.workflows.reordered import ReorderedGeneration
from workers.replay.command import replay_one
from workers.replay.divergence import explain
from workflows.generation import Generation

HISTORIES = sorted((Path(__file__).parent.parent / "histories").glob("*.json"))


def _history(name: str) -> Path:
    return next(path for path in HISTORIES if path.name.startswith(f"{name}."))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """Today's code takes the very way that was recorded."""
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    replayed = await replay_one(history)
    assert replayed.divergence is None, (
        f"{replayed.divergence}\nRunning workflows would get stuck. If the change is meant, keep"
        " the old way with workflow.patched(), and record a new history with `make histories`."
    )


def test_every_recording_is_there() -> None:
    """However old it is."""
    recorded = {path.name.partition(".")[0] for path in HISTORIES}
    assert recorded >= {*RECORDINGS, *WITHOUT_NOTIFICATIONS}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_says_nothing_of_the_machine(path: Path) -> None:
    """Neither its folders nor its processes and host."""
    assert without_machine(path.read_text()) == path.read_text()


async def test_a_changed_order_is_explained_in_plain_words() -> None:
    """The explanation names the event where the ways part, and what to do."""
    path = _history("happy")
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    replayer = Replayer(workflows=[ReorderedGeneration], data_converter=pydantic_data_converter)
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure
    text = explain(result.replay_failure, history)
    assert "at event 5: there the history has marker recorded" in text
    assert "workflow.patched()" in text


async def _replay_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "from starter.cli import main; main()", "replay", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.usefixtures("worker")
async def test_the_command_replays_a_run_by_its_id(lab: Lab) -> None:
    """`duragen replay generation-…` downloads the history and says that it replays cleanly."""
    request = lab.request()
    await lab.outcome(request)
    done = await _replay_command(
        f"generation-{request.request_id}", TEMPORAL_ADDRESS=lab.stack.temporal_address
    )
    assert done.returncode == 0, done.stderr
    assert "replays cleanly" in done.stdout


async def test_the_command_replays_files_and_says_what_is_no_history(tmp_path: Path) -> None:
    """`--file` needs no server; a file that is no history is named, with exit code 2."""
    done = await _replay_command("--file", str(HISTORIES[0]))
    assert done.returncode == 0, done.stderr
    wrong = tmp_path / "history.json"
    wrong.write_text("{}")
    refused = await _replay_command("--file", str(wrong))
    assert refused.returncode == 2
    assert str(wrong) in refused.stderr


@pytest.mark.usefixtures("worker")
async def test_the_command_finds_the_failed_ones(lab: Lab) -> None:
    """`--failed --since 1h` replays what Temporal's Failed filter shows."""
    request = lab.request(prompt="sandbox:unauthorized")
    handle = await lab.start(request)
    with pytest.raises(Exception, match="Workflow execution failed"):
        await handle.result()
    done = await _replay_command(
        "--failed", "--since", "1h", TEMPORAL_ADDRESS=lab.stack.temporal_address
    )
    assert done.returncode == 0, done.stderr
    assert "diverged" in done.stdout


async def test_a_saved_history_stays_in_its_folder(lab: Lab, tmp_path: Path) -> None:
    """Whatever an id looks like; and nobody else reads it, for it holds the prompt."""
    folder, outside, endless = tmp_path / "saved", "../outside", f"../{'x' * 700}"
    folder.mkdir()
    before = folder / "..%2Foutside.json"
    before.touch(0o644)
    for name in (outside, endless):
        started = await lab.client.start_workflow(
            GENERATION_WORKFLOW, lab.request(), id=name, task_queue="nobody-is-there"
        )
        await started.terminate()
    done = await _replay_command(
        *(outside, endless, "--save", str(folder)), TEMPORAL_ADDRESS=lab.stack.temporal_address
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [folder]
    saved = list(folder.iterdir())
    assert {len(file.name) for file in saved} == {len(before.name), 205}
    assert {file.stat().st_mode & 0o777 for file in saved} == {0o600}
    assert "a red fox in the snow" in str(WorkflowHistory.from_json("", before.read_text()))


async def test_the_command_says_when_there_is_no_such_generation(lab: Lab) -> None:
    """Exit 4, as the other commands do."""
    missing = f"generation-{uuid4()}"
    done = await _replay_command(missing, TEMPORAL_ADDRESS=lab.stack.temporal_address)
    assert done.returncode == 4, done.stderr


async def test_debug_stops_in_the_workflow() -> None:
    """`--debug` opens the debugger; a breakpoint in the workflow's code is reached."""
    command = [sys.executable, "-c", "from starter.cli import main; main()"]
    line = inspect.getsourcelines(Generation._plan)[1] + 1
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "replay", "--debug", "--file", str(_history("happy"))],
        input=f"b workflows/generation.py:{line}\nc\nw\nc\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "_plan" in done.stdout.partition("Breakpoint 1")[2], done.stdout + done.stderr
    assert "replays cleanly" in done.stdout
