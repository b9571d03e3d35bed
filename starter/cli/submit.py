"""`duragen submit`: an event from a file, from options, or from both."""

import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from contracts.plain import one_line, plain
from peers.terminal import say, say_json
from starter.cli import exits
from starter.cli.target import GatewayOption, KeyOption, open_target
from starter.cli.watch import follow

FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="The event as JSON, `-` for stdin; options win over it."),
]
_SIDES = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


def submit(  # noqa: PLR0913  # one option per field of the event
    file: FileArgument = None,
    *,
    prompt: Annotated[str | None, typer.Option(help="What to paint.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What not to paint.")] = None,
    model: Annotated[str | None, typer.Option(help="The model's id, a UUID.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Such as 1024x1024.")] = None,
    aspect_ratio: Annotated[
        str | None, typer.Option(help="Such as 1:1; from the resolution when not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="For the same image again.")] = None,
    inference_steps: Annotated[int | None, typer.Option()] = None,
    cfg_scale: Annotated[float | None, typer.Option()] = None,
    callback_url: Annotated[str | None, typer.Option(help="Where Odoo takes the outcome.")] = None,
    user: Annotated[str | None, typer.Option(help="The user's id; a new one by default.")] = None,
    campaign: Annotated[str | None, typer.Option(help="The campaign's id.")] = None,
    request_id: Annotated[str | None, typer.Option(help="A new one by default.")] = None,
    correlation_id: Annotated[str | None, typer.Option(help="A new one by default.")] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then watch it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ids as JSON.")] = False,
) -> None:
    """Start a generation and print its ids. The same request again gives the one that exists."""
    event = _from_file(file)
    given = {
        "prompt": prompt,
        "negativePrompt": negative_prompt,
        "modelId": model,
        "resolution": resolution,
        "aspectRatio": aspect_ratio,
        "seed": seed,
        "inferenceSteps": inference_steps,
        "cfgScale": cfg_scale,
        "callbackUrl": callback_url,
        "userId": user,
        "campaignId": campaign,
        "requestId": request_id,
        "correlationId": correlation_id,
    }
    event |= {name: value for name, value in given.items() if value is not None}
    for name in ("requestId", "correlationId", "userId"):
        event.setdefault(name, str(uuid4()))
    if "aspectRatio" not in event and (ratio := _ratio_of(event.get("resolution"))):
        event["aspectRatio"] = ratio
    _configure_tracing()
    target = open_target(gateway, key)
    with exits.errors_reported(target.name):
        started = target.client.start(event)
        ids = {
            "requestId": started.request_id,
            "workflowId": started.workflow_id,
            "runId": started.run_id,
            "correlationId": event["correlationId"],
            "created": started.created,
        }
        if as_json:
            say_json(ids)
        else:
            say("\n".join(f"{name:14} {plain(value)}" for name, value in ids.items()))
        if watch:
            raise typer.Exit(follow(target.client, started.request_id, None))


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        event = json.loads(text.removeprefix("\ufeff"))  # Windows' editors begin with the mark
    except (OSError, ValueError, RecursionError) as error:
        exits.complain(f"cannot read an event from {file}: {one_line(error)}")
        raise typer.Exit(exits.USAGE) from None
    if not isinstance(event, dict):
        exits.complain(f"{file}: an event is a JSON object")
        raise typer.Exit(exits.USAGE)
    return event


def _ratio_of(resolution: object) -> str | None:
    match = _SIDES.fullmatch(str(resolution))
    if not match:
        return None  # the client says what is wrong with it
    width, height = int(match[1]), int(match[2])
    divisor = math.gcd(width, height)
    return f"{width // divisor}:{height // divisor}"


def _configure_tracing() -> None:
    if any(name.startswith("OTEL_") for name in os.environ):
        from otel.setup import configure  # noqa: PLC0415  # the SDK, only when it is wanted

        configure("duragen-cli")
