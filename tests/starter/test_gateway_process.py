"""The gateway as a process: settings from a file, refusal of wrong ones, an orderly end."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port
from tests.starter.entry_points import (
    KEY,
    ODOO,
    duragen,
    make_event,
)

SHA256 = hashlib.sha256(KEY.encode()).hexdigest()


def environment(folder: Path, settings: str, **more: str) -> dict[str, str]:
    """The file under `folder`, and nothing else of ours in the environment."""
    file = folder / "duragen.toml"
    file.write_text(settings)
    return {"PATH": os.environ["PATH"], "DURAGEN_CONFIG": str(file), **more}


def refusal(env: dict[str, str]) -> str:
    """What a gateway prints when it refuses to start; it must end with 2."""
    command = [sys.executable, "-m", "starter.gateway"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("", "gateway"),
        ("[gateway]\nkeys = []", "gateway.keys"),
        ("[gateway]\nkeys = [{name = 'a', sha256 = 'b'}]", "gateway.keys.0.sha256"),
        (f"[gateway]\nkeys = [{{name = 'a', sha256 = '{SHA256}'}}]\nprot = 1", "gateway.prot"),
        ("[gateway", "cannot read the settings"),
        (
            f"[gateway]\nkeys = [{{name = 'a', sha256 = '{SHA256}'}}]\n[[odoo]]\norigin = 'x'",
            "odoo.0",
        ),
        (
            (
                f"[[gateway.keys]]\nname = 'a'\nsha256 = '{SHA256}'\n"
                f"[[gateway.keys]]\nname = 'b'\nsha256 = '{SHA256[::-1]}'"
            ),
            "gateway.keys: Value error, key 'a' needs callbacks",
        ),
    ],
    ids=["nothing", "no keys", "hash", "misspelt", "TOML", "origin", "several owners"],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: str, named: str) -> None:
    """The gateway refuses to start, names the setting and shows no traceback."""
    assert named in refusal(environment(tmp_path, settings))


def test_a_wrong_encryption_key_is_named(tmp_path: Path) -> None:
    """At the start, and not when the first request comes; the key itself is not shown."""
    settings = f"[gateway]\nkeys = [{{name = 'a', sha256 = '{SHA256}'}}]"
    said = refusal(environment(tmp_path, settings, DURAGEN_ENCRYPTION_KEYS="2026-11:c2VjcmV0"))
    assert "DURAGEN_ENCRYPTION_KEYS: the key 2026-11 is not 32 bytes" in said
    assert "c2VjcmV0" not in said


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """Exit 2, and which setting takes another one."""
    settings = f"[gateway]\nkeys = [{{name = 'a', sha256 = '{SHA256}'}}]"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal(environment(tmp_path, settings, DURAGEN_GATEWAY__PORT=port))
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "DURAGEN_GATEWAY__PORT" in said


def test_a_wrong_telemetry_variable_is_named(tmp_path: Path) -> None:
    """Exit 2 as for any other setting."""
    settings = f"[gateway]\nkeys = [{{name = 'a', sha256 = '{SHA256}'}}]"
    said = refusal(environment(tmp_path, settings, OTEL_TRACES_EXPORTER="zipkin"))
    assert "OTEL_TRACES_EXPORTER" in said


def test_it_serves_and_ends_in_order(tmp_path: Path, address: str) -> None:
    """A variable wins over the file; SIGTERM ends the process with 0."""
    settings = f"""
[gateway]
port = 1
keys = [{{name = "odoo", sha256 = "{SHA256}"}}]
[[odoo]]
origin = "{ODOO}"
token = "the worker's"
[storage]
bucket = "the worker's"
"""
    port = free_port()
    env = environment(tmp_path, settings, DURAGEN_GATEWAY__PORT=str(port), TEMPORAL_ADDRESS=address)
    process = subprocess.Popen(
        [sys.executable, "-m", "starter.gateway"], env=env, stderr=subprocess.PIPE, text=True
    )
    try:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as caller:
            until = time.monotonic() + 20
            while True:
                try:
                    caller.get("/health")
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < until
            event = make_event()
            assert caller.post("/webhook/ai", json=event).status_code == 202
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0
    [line] = [line for line in log.splitlines() if "generation accepted" in line]
    assert event["requestId"] in line
    assert event["correlationId"] in line
    assert event["prompt"] not in log
    assert KEY not in log


async def test_a_new_key_fits_its_digest() -> None:
    """`duragen gateway --new-key` prints a key and the digest that the settings want."""
    done = await duragen("gateway", "--new-key")
    key = done.out.splitlines()[0].rsplit(" ", 1)[1]
    assert len(key) > 40
    assert f'sha256 = "{hashlib.sha256(key.encode()).hexdigest()}"' in done.out
