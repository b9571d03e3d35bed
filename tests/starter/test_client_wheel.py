"""`make client`: the wheel `duragen-client`, in fresh environments with nothing else of ours."""

import asyncio
import json
import subprocess
import tomllib
from functools import partial
from pathlib import Path

import pytest

from tests.deploy.packaging import ROOT, environment_with, run
from tests.starter.entry_points import KEY, make_event

START = """
import json, os, sys
import duragen_client
client = {client}
started = client.start(json.loads(sys.argv[1]))
again = client.start(json.loads(sys.argv[1]))
print(started.workflow_id, started.created, again.created, "temporalio" in sys.modules, flush=True)
os._exit(0)
"""
"""Not by the interpreter's own end: threads of the SDK that still let go of the last answer make it
crash now and then (`starter/leaving.py`), after everything has been done."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make client` builds."""
    folder = tmp_path_factory.mktemp("client")
    subprocess.run(["make", "client", f"OUT={folder}"], cwd=ROOT, check=True, capture_output=True)
    [found] = folder.glob("duragen_client-*.whl")
    return found


async def _started(programs: Path, client: str, folder: Path) -> list[str]:
    """What a program of its own prints that starts a generation twice."""
    event = make_event()
    code = START.format(client=client)
    said = await asyncio.to_thread(
        partial(run, programs / "python", "-I", "-c", code, json.dumps(event), cwd=folder)
    )
    workflow, *rest = said.split()
    assert workflow == f"generation-{event['requestId']}"
    return rest


async def test_over_the_gateway_it_needs_nothing_else(
    wheel: Path, tmp_path: Path, gateway: str
) -> None:
    """Neither `temporalio` nor any other package; the second start finds the first."""
    programs = await asyncio.to_thread(environment_with, wheel, tmp_path, offline=True)
    client = f"duragen_client.GatewayClient({gateway!r}, {KEY!r})"
    assert await _started(programs, client, tmp_path) == ["True", "False", "False"]


async def test_with_its_extra_it_speaks_to_temporal(
    wheel: Path, tmp_path: Path, address: str
) -> None:
    """The extra `temporal` brings the SDK."""
    programs = await asyncio.to_thread(environment_with, f"{wheel}[temporal]", tmp_path)
    client = f"duragen_client.DuragenClient({address!r})"
    assert await _started(programs, client, tmp_path) == ["True", "False", "True"]


def test_it_has_the_version_of_the_whole() -> None:
    """Client and server are released together."""
    versions = {
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["version"]
        for folder in (".", "deploy/client")
    }
    assert len(versions) == 1
