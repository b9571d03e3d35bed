"""Where the commands go: to the gateway when one is named, else straight to Temporal."""

import os
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from starter.cli.exits import USAGE, complain

if TYPE_CHECKING:
    from starter.client import DuragenClient
    from starter.gateway_client import GatewayClient

RETRY_SECONDS = (1.0,)
"""One more try: a person waits at the terminal for the answer."""

GatewayOption = Annotated[
    str | None,
    typer.Option(
        "--gateway",
        envvar="DURAGEN_GATEWAY_URL",
        metavar="URL",
        help="Go through this gateway; else straight to Temporal (TEMPORAL_ADDRESS and the like).",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="DURAGEN_GATEWAY_KEY",
        metavar="KEY",
        help="The gateway's key. Better in the variable: others see the command line.",
        show_envvar=True,
    ),
]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A request id, or a workflow id (generation-...).")
]


class Target(NamedTuple):
    """A client, and what to call it when it does not answer."""

    client: "DuragenClient | GatewayClient"
    name: str


def temporal_name() -> str:
    """Temporal, as messages call it: its address, and the namespace when one was chosen."""
    address = os.environ.get("TEMPORAL_ADDRESS", "localhost:7233")
    namespace = os.environ.get("TEMPORAL_NAMESPACE")
    return f"Temporal ({address}{f', namespace {namespace}' if namespace else ''})"


def open_target(gateway: str | None, key: str | None) -> Target:
    """The client for the options that were given. Nothing is connected yet."""
    if gateway and not key:
        complain("--gateway needs a key: --key, or the variable DURAGEN_GATEWAY_KEY")
        raise typer.Exit(USAGE)
    # Imported here: the SDK costs a quarter of a second, which `--help` should not.
    if gateway:
        from starter.gateway_client import GatewayClient  # noqa: PLC0415

        client = GatewayClient(gateway, key or "", retry_seconds=RETRY_SECONDS)
        return Target(client, f"the gateway {gateway}")
    from starter.client import DuragenClient  # noqa: PLC0415

    return Target(DuragenClient(retry_seconds=RETRY_SECONDS), temporal_name())
