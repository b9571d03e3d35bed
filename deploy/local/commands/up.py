"""`duragen up` and `duragen logs`: the embedded stack on a terminal."""

import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from deploy.local.commands.welcome import welcome
from deploy.local.real_odoo.beside import stack_with_odoo
from deploy.local.real_odoo.configure import PEOPLE
from deploy.local.real_odoo.places import OdooFailedError, OdooUnavailableError
from deploy.local.stack.layout import ProgramMissingError, SandboxOptions
from deploy.local.stack.local_stack import HomeInUseError, LocalStack
from deploy.local.stack.logs import LINE_CHARACTERS, follow, follow_in_background, tail
from deploy.local.stack.parts import ALL_PARTS
from deploy.local.stack.ports import STANDARD_PORTS, Ports, PortTakenError
from deploy.local.stack.supervisor import PartFailedError
from peers.terminal import complain, say

DEFAULT_HOME = Path(".duragen")
_PARTS = ", ".join(ALL_PARTS)
FORESEEN = (
    *(HomeInUseError, PartFailedError, PortTakenError, ProgramMissingError, ValueError),
    *(OdooUnavailableError, OdooFailedError),
)

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="DURAGEN_LOCAL_HOME", help="Folder of everything it writes."),
]


def _port(name: str, of: str) -> Any:
    return typer.Option(
        f"--{name}-port",
        envvar=f"DURAGEN_LOCAL_{name.upper()}_PORT",
        min=0,
        max=65_535,
        help=f"{of}; 0 takes a free one.",
        rich_help_panel="Ports",
    )


def up(  # noqa: PLR0913  # each is an option of the command line
    *,
    home: HomeOption = DEFAULT_HOME,
    without: Annotated[
        list[str] | None, typer.Option(help=f"Leave a part out, to run it by hand: {_PARTS}.")
    ] = None,
    show: Annotated[
        list[str] | None, typer.Option(help="Show a part's log as it grows; `all` for each.")
    ] = None,
    odoo: Annotated[
        str | None,
        typer.Option(envvar="DURAGEN_LOCAL_ODOO", help="A real Odoo instead of the sandbox."),
    ] = None,
    real_odoo: Annotated[
        bool,
        typer.Option(
            "--real-odoo",
            help="Set up a real Odoo 19 with the addon instead of the sandbox (on Debian).",
        ),
    ] = False,
    alertmanager: Annotated[
        str | None,
        typer.Option(
            envvar="DURAGEN_LOCAL_ALERTMANAGER",
            help="A real Alertmanager instead of the sandbox's.",
        ),
    ] = None,
    rabbitmq: Annotated[
        str | None,
        typer.Option(
            envvar="DURAGEN_LOCAL_RABBITMQ",
            metavar="URL",
            help="A RabbitMQ that requests come from and outcomes go to: amqp://USER:PASSWORD@HOST.",
        ),
    ] = None,
    latency: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds that the sandbox takes for an image.")
    ] = 2,
    credits_granted: Annotated[
        int, typer.Option("--credits", min=0, help="What the sandbox Odoo grants a new user.")
    ] = 1_000,
    temporal_port: Annotated[int, _port("temporal", "Temporal")] = STANDARD_PORTS.temporal,
    ui_port: Annotated[int, _port("ui", "Temporal's Web UI")] = STANDARD_PORTS.ui,
    s3_port: Annotated[int, _port("s3", "the S3 store")] = STANDARD_PORTS.s3,
    images_port: Annotated[int, _port("images", "the image service")] = STANDARD_PORTS.images,
    odoo_port: Annotated[int, _port("odoo", "the sandbox Odoo")] = STANDARD_PORTS.odoo,
    notifications_port: Annotated[
        int, _port("notifications", "notifications, alerts")
    ] = STANDARD_PORTS.notifications,
    gateway_port: Annotated[int, _port("gateway", "the gateway")] = STANDARD_PORTS.gateway,
    worker_port: Annotated[int, _port("worker", "the worker's health")] = STANDARD_PORTS.worker,
    receiver_port: Annotated[
        int, _port("receiver", "your own receiver of webhooks")
    ] = STANDARD_PORTS.receiver,
) -> None:
    """Run the whole stack on this machine, without Docker, until Ctrl-C.

    What it stores is below --home and is taken up again at the next start.
    """
    _end_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    ports = Ports(
        *(temporal_port, ui_port, s3_port, images_port, odoo_port, notifications_port),
        *(gateway_port, worker_port, receiver_port),
    )
    ending = threading.Event()
    options = SandboxOptions(latency_seconds=latency, credits=credits_granted)
    try:
        if real_odoo and (odoo or alertmanager or rabbitmq):
            raise ValueError("--real-odoo goes without --odoo, --alertmanager and --rabbitmq.")
        left_out = set(_known(without)) | ({"odoo"} if odoo else set())
        parts = [part for part in ALL_PARTS if part not in left_out]
        for name in ALL_PARTS if "all" in (show or ()) else _known(show):
            follow_in_background(name, home.resolve() / "logs" / f"{name}.log", ending)
        with ExitStack() as running:
            if real_odoo:
                beside = stack_with_odoo(home, parts, ports=ports, options=options, say=say)
                stack = running.enter_context(beside).stack
            else:
                stack = LocalStack(
                    home,
                    parts,
                    ports=ports,
                    options=options,
                    odoo_url=odoo,
                    alertmanager_url=alertmanager,
                    rabbitmq_url=rabbitmq,
                    say=say,
                )
                running.enter_context(stack)
            say(welcome(stack, PEOPLE if real_odoo else ()))
            threading.Event().wait()
    except KeyboardInterrupt:
        say("Everything has ended. What was stored is kept.")
    except FORESEEN as error:
        complain(error)
        raise typer.Exit(1) from None
    finally:
        ending.set()


def logs(
    part: Annotated[str, typer.Argument(help=f"One of {_PARTS}.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last.")] = 40,
    on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show the log of a part of the local stack."""
    try:
        (name,) = _known([part])
    except ValueError as error:
        complain(error)
        raise typer.Exit(2) from None
    file = home / "logs" / f"{name}.log"
    for line in tail(file, lines):
        say(line, most=LINE_CHARACTERS)
    if on:
        follow(name, file, threading.Event())


def _known(names: list[str] | None) -> list[str]:
    for name in names or ():
        if name not in ALL_PARTS:
            raise ValueError(f"There is no part {name!r}; the parts are {_PARTS}.")
    return names or []


def _end_like_ctrl_c(*signals: signal.Signals) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, interrupt)
