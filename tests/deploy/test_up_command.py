"""`duragen up` as a process, as a developer starts it."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import httpx
import pytest

from deploy.local.stack import processes
from deploy.local.stack.ports import Ports

PROGRAM = "import typer; from deploy.local.commands.up import up; typer.run(up)"
FREE = [f"--{port.name}-port=0" for port in fields(Ports)]
WITHOUT = [f"--without={part}" for part in ("temporal", "store", "worker", "gateway")]
Up = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def up(home: Path) -> Iterator[Up]:
    """Starts `up` with the sandboxes on free ports; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(*more: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, f"--home={home}", *FREE, *WITHOUT, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=100)


def _until(process: "subprocess.Popen[str]", text: str) -> str:
    """What was printed up to the line with `text`."""
    printed = ""
    assert process.stdout
    for line in process.stdout:
        printed += line
        if text in line:
            return printed
    raise AssertionError(f"{text!r} was never printed:\n{printed}")


def _parts(home: Path) -> list[processes.Process]:
    files = sorted((home / "run").glob("*.json"))
    return [found for file in files if (found := processes.read(file))]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ends_everything(up: Up, home: Path, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end all parts, and the exit code is 0."""
    process = up()
    _until(process, "Ctrl-C ends everything")
    running = _parts(home)
    process.send_signal(how)
    rest, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert "Everything has ended" in rest
    assert len(running) == 3
    assert not any(part.alive for part in running)


def test_says_where_everything_is(up: Up, home: Path) -> None:
    """It prints the addresses, the API keys and requests to paste."""
    printed = _until(up(), "Ctrl-C ends everything")
    secrets = json.loads((home / "secrets.json").read_text())
    receiver = json.loads((home / "ports.json").read_text())["receiver"]
    for text in (
        "Web UI",
        "Odoo",
        "curl http://127.0.0.1:",
        secrets["api_key"],
        '"callbackUrl"',
        f"developer key  {secrets['developer_key']}  (1000 credits at first)",
        f"webhooks to    127.0.0.1:{receiver}",
        f"Bearer {secrets['developer_key']}'",
        "/v1/generate ",
        "duragen.toml",
        "Alertmanager",
    ):
        assert text in printed
    assert "duragen worker" in printed  # how to run by hand what was left out
    tables = tomllib.loads((home / "duragen.toml").read_text())
    assert f"http://127.0.0.1:{receiver}" in tables["webhooks"]["private"]


def test_shows_a_log(up: Up) -> None:
    """`--show` prints a part's log as it grows."""
    assert " images | " in _until(up("--show", "images"), "Uvicorn running")


def test_after_kill_of_the_supervisor(up: Up, home: Path) -> None:
    """After `kill -9` of `up` its parts end too, and the next `up` goes on with the same ports."""
    process = up()
    _until(process, "Ctrl-C ends everything")
    orphans, ports = _parts(home), (home / "ports.json").read_text()
    process.kill()
    process.communicate(timeout=100)
    _until(up(), "Ctrl-C ends everything")
    assert len(orphans) == 3
    assert not any(orphan.alive for orphan in orphans)
    assert (home / "ports.json").read_text() == ports


def test_after_kill_of_all(up: Up, home: Path) -> None:
    """After `kill -9` of everything at once, the next `up` has what was stored."""
    process = up()
    _until(process, "Ctrl-C ends everything")
    port = json.loads((home / "ports.json").read_text())["images"]
    flux_key = json.loads((home / "secrets.json").read_text())["provider_keys"]["flux"]
    with httpx.Client(trust_env=False, headers={"x-key": flux_key}) as client:
        url = f"http://127.0.0.1:{port}/v1/flux-2-pro"
        task = client.post(url, json={"prompt": "a fox"}).raise_for_status().json()
        for pid in (process.pid, *(part.pid for part in _parts(home))):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=100)
        _until(up(), "Ctrl-C ends everything")
        assert client.get(task["polling_url"]).json()["status"] in {"Pending", "Ready"}


def test_taken_home(up: Up) -> None:
    """A second `up` in the same home says so in one line and exits with 1."""
    _until(up(), "Ctrl-C ends everything")
    second = up()
    printed, _ = second.communicate(timeout=100)
    assert second.returncode == 1
    assert printed.count("\n") == 1
    assert "already runs" in printed


def test_misspelt_part(up: Up) -> None:
    """A part that does not exist is named, and the exit code is 1."""
    process = up("--without", "odo")
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "no part 'odo'" in printed


def test_with_an_odoo_of_ones_own_nothing_is_pasted(up: Up) -> None:
    """That Odoo would refuse the outcome of what it has not asked for: the request begins there."""
    printed = _until(up("--odoo=http://127.0.0.1:8069"), "Ctrl-C ends everything")
    assert "/v1/generations \\" not in printed
    assert "write a prompt at http://127.0.0.1:8069/my/images" in printed
