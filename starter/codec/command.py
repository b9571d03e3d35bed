"""The command `duragen codec`: the codec server, and new keys."""

import signal
import socket
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
import uvicorn

from otel.logs import configure_logging
from peers.connections import ConnectionLimits, spare_descriptors
from peers.encryption import (
    KEYS_VARIABLE,
    EncryptionError,
    PayloadEncryption,
    keyring,
    new_key,
)
from peers.http_server import listen, server_config
from peers.settings import SettingsError
from peers.terminal import complain, say
from starter import keys
from starter.cli import exits
from starter.codec.app import create_app
from starter.codec.settings import CodecSettings

GRACEFUL_SECONDS = 5
CONNECTIONS = 100
"""At a time. Operators' browsers need a few."""


def codec(
    *,
    new_encryption_key: Annotated[
        bool,
        typer.Option("--new-encryption-key", help=f"Make a key for {KEYS_VARIABLE}, and stop."),
    ] = False,
    new_caller: Annotated[
        bool,
        typer.Option(
            "--new-key", help="Make a caller's key and its line of duragen.toml, and stop."
        ),
    ] = False,
) -> None:
    """Decrypt payloads for Temporal's Web UI and the `temporal` command, until SIGTERM."""
    if new_encryption_key:
        # The month names it: it says in a history how old the key is.
        say(f"{datetime.now(UTC):%Y-%m}:{new_key()}")
        return
    if new_caller:
        made = keys.new_key()
        say(f"key, for the caller, shown only now: {made.key}")
        say("[codec]")
        say(f'keys = [{{name = "...", sha256 = "{made.sha256}"}}]')
        return
    try:
        _serve()
    except SettingsError as error:
        complain(error)
        raise typer.Exit(exits.USAGE) from None


def _serve() -> None:
    settings = CodecSettings.read().codec
    try:
        ring = keyring()
        if ring is None:
            raise SettingsError(f"there is nothing to decode with: set {KEYS_VARIABLE}")
        encryption = PayloadEncryption(ring)
    except EncryptionError as error:
        raise SettingsError(str(error)) from None
    if settings.encode and ring.first is None:
        raise SettingsError(f"codec.encode: no key encrypts, for {KEYS_VARIABLE} begins with clear")
    configure_logging()
    # uvicorn stops in order, and then raises the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = server_config(
        create_app(settings, encryption),
        ConnectionLimits(min(CONNECTIONS, spare_descriptors())),
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    with _listening(settings.host, settings.port) as listening:
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}): set codec.host and codec.port"
        ) from None
