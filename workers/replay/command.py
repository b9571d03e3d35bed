"""The command `duragen replay`: run histories again against today's code, and say what differs."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn
from urllib.parse import quote
from uuid import UUID

import typer
from temporalio.client import Client, WorkflowHistory
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from contracts.names import GENERATION_WORKFLOW, workflow_id
from contracts.plain import one_line
from peers.encryption import EncryptionError
from peers.settings import SettingsError
from peers.temporal import connect, data_converter, target
from peers.terminal import complain, console, styled
from workers.replay.divergence import explain
from workers.replay.payloads import check_readable
from workflows.backlog_watch import BacklogWatch
from workflows.connection import ConnectionTest
from workflows.generation import Generation
from workflows.odoo_health import OdooHealth
from workflows.provider_health import ProviderHealth
from workflows.webhook import WebhookDelivery

EXIT_DIVERGED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_UNKNOWN = 1, 2, 3, 4

MAX_NAME = 200
"""Characters of a saved history's name: file systems take 255 bytes."""

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Replayed(NamedTuple):
    """What came of one replay; `divergence` is None when it went through as recorded."""

    workflow_id: str
    events: int
    divergence: str | None


async def replay_one(history: WorkflowHistory, *, debug: bool = False) -> Replayed:
    """Replay one history against the code as it is now. `debug` lifts the deadlock detector.

    Raises EncryptionError when a payload is encrypted with a key that we do not have.
    """
    converter = data_converter()
    await check_readable(history, converter)
    replayer = Replayer(
        workflows=[
            *(Generation, ProviderHealth, OdooHealth, BacklogWatch),
            *(WebhookDelivery, ConnectionTest),
        ],
        data_converter=converter,
        debug_mode=debug,
        # The sandbox forbids what a debugger does.
        workflow_runner=UnsandboxedWorkflowRunner() if debug else SandboxedWorkflowRunner(),
        runtime=_quiet_runtime(),
    )
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    failure = result.replay_failure
    return Replayed(
        history.workflow_id, len(history.events), explain(failure, history) if failure else None
    )


@cache
def _quiet_runtime() -> Runtime:
    # The SDK's core would print each divergence in its own words, before ours.
    return Runtime(telemetry=TelemetryConfig(logging=None))


def replay(  # the options of a command
    ids: Annotated[
        list[str] | None, typer.Argument(help="Workflow ids (generation-…) or request ids.")
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="A history as JSON, saved from the Web UI or with --save.", exists=True),
    ] = None,
    failed: Annotated[bool, typer.Option(help="All failed generations.")] = False,
    since: Annotated[
        str, typer.Option(help="With --failed: how far back, such as 90m, 24h or 7d.")
    ] = "24h",
    save: Annotated[
        Path | None, typer.Option(help="Also save each history here, as <workflow id>.json.")
    ] = None,
    debug: Annotated[
        bool, typer.Option(help="Stop in the debugger where the workflow begins.")
    ] = False,
) -> None:
    """Replay histories against today's code; exit 0 when all went through, 1 when one diverged."""
    if not (ids or file or failed):
        _stop("Name a generation, or use --file or --failed: see duragen replay --help", EXIT_USAGE)
    logging.basicConfig(level=logging.CRITICAL)  # a divergence is said below, in plain words
    try:
        diverged = asyncio.run(
            _replay_all(ids or [], file or [], _since(failed, since), save, debug=debug)
        )
    except typer.Exit:  # a RuntimeError by descent
        raise
    except (SettingsError, EncryptionError) as error:
        _stop(str(error), EXIT_USAGE)
    except RPCError as error:
        unknown = error.status is RPCStatusCode.NOT_FOUND
        code = EXIT_UNKNOWN if unknown else EXIT_UNREACHABLE
        _stop(f"Temporal at {target()}: {one_line(error.message)}", code)
    except RuntimeError as error:
        _stop(f"Temporal at {target()} cannot be reached: {one_line(error)}", EXIT_UNREACHABLE)
    raise typer.Exit(EXIT_DIVERGED if diverged else 0)


async def _replay_all(
    ids: list[str], files: list[Path], since: datetime | None, save: Path | None, *, debug: bool
) -> int:
    out = console(soft_wrap=True)
    total = diverged = 0
    async for history in _histories(ids, files, since):
        if save:
            _save(history, save)
        if debug:
            out.print("Set breakpoints with 'b workflows/generation.py:LINE', then 'c'.")
            breakpoint()  # noqa: T100  # asked for with --debug
        replayed = await replay_one(history, debug=debug)
        total += 1
        if replayed.divergence:
            diverged += 1
            out.print(styled("diverges", "red"), one_line(replayed.workflow_id))
            out.print(f"  {replayed.divergence}")
        else:
            said = f"{one_line(replayed.workflow_id)} ({replayed.events} events)"
            out.print(styled("replays cleanly", "green"), said)
    out.print(f"{total} replayed, {diverged} diverged")
    return diverged


def _save(history: WorkflowHistory, folder: Path) -> None:
    # An id may be anything: a path, or too long for a name. Those of generations are kept whole.
    name = quote(history.workflow_id, safe="", errors="surrogateescape")[:MAX_NAME]
    file = folder / f"{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    # Before anything is in it: a history holds the prompt.
    file.touch(0o600)
    file.chmod(0o600)
    file.write_text(history.to_json())


async def _histories(
    ids: list[str], files: list[Path], since: datetime | None
) -> AsyncIterator[WorkflowHistory]:
    for path in files:
        try:
            yield WorkflowHistory.from_json(path.stem, path.read_text())
        except Exception as error:  # noqa: BLE001  # protobuf and JSON each have their own
            _stop(one_line(f"{path} is not a history as Temporal exports it: {error}"), EXIT_USAGE)
    if not ids and since is None:
        return
    client = await connect()
    for name in ids:
        yield await client.get_workflow_handle(_workflow_id(name)).fetch_history()
    if since is not None:
        query = (
            f"WorkflowType = '{GENERATION_WORKFLOW}' AND ExecutionStatus = 'Failed'"
            f" AND CloseTime >= '{since.isoformat()}'"
        )
        async for history in _found(client, query):
            yield history


async def _found(client: Client, query: str) -> AsyncIterator[WorkflowHistory]:
    async for execution in client.list_workflows(query):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        yield await handle.fetch_history()


def _workflow_id(text: str) -> str:
    try:
        return workflow_id(UUID(text))
    except ValueError:
        return text


def _since(failed: bool, text: str) -> datetime | None:
    if not failed:
        return None
    match = _DURATION.fullmatch(text)
    if not match:
        _stop(f"--since {text}: use a number and s, m, h or d, such as 24h", EXIT_USAGE)
    return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})


def _stop(message: str, code: int) -> NoReturn:
    complain(message)
    raise typer.Exit(code)
