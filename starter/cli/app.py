"""The commands by name; each is imported when it is run, so that `duragen` starts fast.

Loading by name also keeps the import rules: the command line knows what the worker and the local
stack are called, not what they are made of.
"""

import importlib
import os
import traceback
from typing import Annotated, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup

from contracts.plain import one_line
from peers import terminal
from starter import own_packages
from starter.cli import exits

HELP = "Carry AI image generations from the request until everybody who must know has the outcome."


class Entry(NamedTuple):
    """A command: where its function is (`module:function`), and what `--help` says of it."""

    target: str
    help: str


COMMANDS = {
    "up": Entry("deploy.local.commands.up:up", "Run the whole stack here, without Docker."),
    "logs": Entry("deploy.local.commands.up:logs", "Show the log of a part of the local stack."),
    "demo": Entry("deploy.local.commands.demo:demo", "Carry one prompt to the end and show it."),
    "submit": Entry("starter.cli.submit:submit", "Start a generation and print its ids."),
    "status": Entry("starter.cli.commands:status", "Say where a generation stands."),
    "watch": Entry("starter.cli.watch:watch", "Show a generation's progress until it ends."),
    "cancel": Entry("starter.cli.commands:cancel", "Cancel a generation."),
    "parked": Entry("starter.cli.parked:parked", "List what Odoo has not taken, and why."),
    "redeliver": Entry("starter.cli.parked:redeliver", "Try parked deliveries now."),
    "abandon": Entry("starter.cli.parked:abandon", "Give a parked delivery up."),
    "failed": Entry("starter.cli.failed:failed", "List failed generations by error code."),
    "rerun": Entry("starter.cli.failed:rerun", "Run failed generations again."),
    "replay": Entry("workers.replay.command:replay", "Replay histories against today's code."),
    "doctor": Entry("workers.doctor.command:doctor", "Check every dependency; say how to fix it."),
    "erase": Entry("workers.erase.command:erase", "Remove what is kept of a generation."),
    "worker": Entry("workers.cli:worker", "Run the worker process."),
    "gateway": Entry("starter.cli.commands:gateway", "Run the HTTP gateway."),
    "rabbitmq": Entry("starter.cli.rabbitmq:rabbitmq", "Consume requests from RabbitMQ."),
    "deadletters": Entry(
        "starter.cli.rabbitmq:deadletters", "Requests from RabbitMQ that started nothing."
    ),
    "codec": Entry("starter.codec.command:codec", "Decrypt for Temporal's Web UI; make keys."),
}


class LazyGroup(TyperGroup):
    """Shows every command from the table; imports the one that is run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The real command in place of its entry."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name in COMMANDS else command, rest


def _load(name: str) -> Any:
    entry = COMMANDS[name]
    module, function = entry.target.split(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        missing = error.name or "a module"
        if missing.split(".")[0] in own_packages.NAMES:
            exits.complain(f"`{name}` is not part of this installation ({missing} is missing)")
        else:
            exits.complain(
                f"`{name}` needs {missing}; install duragen with all its dependencies"
                " (`up` and `demo`: the extra `local`)"
            )
        raise typer.Exit(exits.USAGE) from None
    single = typer.Typer(add_completion=False)
    single.command(name, help=found.__doc__ or entry.help)(found)
    return typer.main.get_command(single)


def _options(
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAME",
            help="Temporal's namespace, in place of TEMPORAL_NAMESPACE and of the profile's.",
        ),
    ] = None,
) -> None:
    # Where the SDK, and all that is started from here, looks for it.
    if namespace:
        os.environ["TEMPORAL_NAMESPACE"] = namespace


def make_group() -> LazyGroup:
    """The command `duragen` with all its commands."""
    base = typer.Typer(
        name="duragen",
        cls=LazyGroup,
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    base.callback()(_options)
    group = cast("LazyGroup", typer.main.get_group(base))
    group.commands = {name: TyperCommand(name, help=each.help) for name, each in COMMANDS.items()}
    return group


def run(args: list[str]) -> int:
    """Run one command; its exit code. An unexpected error is one line, without a traceback."""
    try:
        make_group().main(args, prog_name="duragen")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else exits.DONE
    except Exception as error:  # noqa: BLE001  # the last line of defence
        if os.environ.get("DURAGEN_DEBUG"):
            terminal.complain(traceback.format_exc())
        exits.complain(f"{type(error).__name__}: {one_line(error)} (DURAGEN_DEBUG=1 shows where)")
        return exits.INTERNAL
    return exits.DONE
