"""`duragen watch`: the states as they pass, and what is being waited for, until the end."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from contracts.plain import one_line
from peers.terminal import console
from starter.cli import exits
from starter.cli.commands import lines_of
from starter.cli.target import GatewayOption, IdArgument, KeyOption, open_target

if TYPE_CHECKING:
    from starter.client import DuragenClient
    from starter.gateway_client import GatewayClient

POLL_SECONDS = 0.5
EXIT_OF_STATE = {
    "completed": exits.DONE,
    "failed": exits.FAILED,
    "canceled": exits.FAILED,
    "abandoned": exits.FAILED,
}


def watch(
    generation: IdArgument,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Stop watching after so many seconds (exit 7).")
    ] = None,
) -> None:
    """Show a generation's progress until it ends. Ctrl-C ends the watching, not the generation.

    Exit code: 0 completed, 1 failed or canceled, 3 no answer, 4 no such generation, 7 still
    running after --timeout.
    """
    target = open_target(gateway, key)
    with exits.errors_reported(target.name):
        raise typer.Exit(follow(target.client, generation, timeout))


def follow(client: "DuragenClient | GatewayClient", generation: str, timeout: float | None) -> int:
    """Show the generation until it ends; return the exit code."""
    out = console()
    started, state = time.monotonic(), None
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,  # in a file or a pipe the lines alone are wanted
    )
    with bar:
        task = bar.add_task("", total=100)
        while True:
            found = client.status(generation)
            bar.update(task, completed=found["progress"], description=one_line(_waiting_for(found)))
            if found["state"] != state:
                state = found["state"]
                passed = time.monotonic() - started
                out.print(f"{passed:6.1f} s  {one_line(state)}")
            if state in EXIT_OF_STATE:
                break
            if timeout is not None and time.monotonic() - started >= timeout:
                exits.complain("still running; the watching ended, the generation goes on")
                return exits.STILL_RUNNING
            time.sleep(POLL_SECONDS)
    for line in lines_of(found):
        out.print(line, soft_wrap=True)
    return EXIT_OF_STATE[state]


def _waiting_for(found: dict[str, Any]) -> str:
    text = str(found["state"])
    if found["route"]:
        text += f", {found['route']['provider']} / {found['route']['model']}"
    for activity in found.get("activities", []):
        text += f", {activity['type']}"
        if activity["attempt"] > 1:
            text += f" (attempt {activity['attempt']})"
        for details in activity["heartbeat"]:
            if isinstance(details, dict) and details.get("percent") is not None:
                text += f", the service says {details['percent']} %"
    return text
