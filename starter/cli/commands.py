"""The short commands: `status`, `cancel`, `gateway`."""

from typing import Annotated, Any

import typer

from contracts.plain import plain
from peers.terminal import say, say_json
from starter import keys
from starter.cli import exits
from starter.cli.target import GatewayOption, IdArgument, KeyOption, open_target


def status(
    generation: IdArgument,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
) -> None:
    """Say where a generation stands."""
    target = open_target(gateway, key)
    with exits.errors_reported(target.name):
        found = target.client.status(generation)
    if as_json:
        say_json(found, indent=2)
    else:
        say("\n".join(lines_of(found)))


def lines_of(found: dict[str, Any]) -> list[str]:
    """A status for people, one fact a line, whatever line breaks are in it."""
    lines = [f"{found['workflowId']}: {found['state']} ({found['progress']} %)"]
    route, image, error, parked = (found[name] for name in ("route", "image", "error", "parked"))
    if route:
        lines.append(f"  route   {route['provider']} / {route['model']}")
    if image:
        size = f"{image['width']}x{image['height']} {image['format']}, {image['size']} bytes"
        lines += [f"  image   {image['key']} ({size})", f"  sha256  {image['sha256']}"]
    if error:
        lines.append(f"  error   {error['code']}: {error.get('detail') or error['userMessage']}")
        if error.get("mayHaveBeenPaid"):
            lines.append("          the image service may have charged for it")
    if found.get("ignoredFields"):
        lines.append(f"  ignored {', '.join(found['ignoredFields'])} (this route has no place)")
    if parked:
        detail = f": {parked['detail']}" if "detail" in parked else ""
        lines.append(f"  parked  {parked['code']}{detail}")
        next_try = "on request alone" if parked.get("rests") else parked["nextTry"] or "now"
        lines.append(f"          {parked['attempts']} rounds, next try {next_try}")
    for activity in found.get("activities", []):
        trouble = f", last failure: {activity['lastFailure']}" if activity["lastFailure"] else ""
        lines.append(f"  pending {activity['type']}, attempt {activity['attempt']}{trouble}")
    if not found.get("live", True) and found["progress"] < 100:
        lines.append("  no worker answers: this is what the server knows")
    return [plain(line) for line in lines]


def cancel(generation: IdArgument, gateway: GatewayOption = None, key: KeyOption = None) -> None:
    """Cancel a generation; Odoo gets the outcome once the cancellation has taken effect."""
    target = open_target(gateway, key)
    with exits.errors_reported(target.name):
        requested = target.client.cancel(generation)
    say("cancellation requested" if requested else "it had already ended")


def gateway(
    *,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a key and its line of duragen.toml, and stop.")
    ] = False,
) -> None:
    """Run the HTTP gateway until SIGTERM or Ctrl-C, with the settings of duragen.toml."""
    if new_key:
        made = keys.new_key()
        say(f"key, for the caller, shown only now: {made.key}")
        say("[gateway]")
        say(f'keys = [{{name = "...", sha256 = "{made.sha256}"}}]')
        return
    from starter.gateway.__main__ import program  # noqa: PLC0415  # FastAPI, for this command alone

    raise typer.Exit(program())
