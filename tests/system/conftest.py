"""Programs of Debian packages, started for a test and ended with it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.local.stack.ports import PortRegistry
from tests.system.running import running

CONFIG = """\
route: {receiver: nobody}
receivers: [{name: nobody}]
"""


def program(package: str, *names: str) -> str:
    """The path of the first of `names` that is installed; the test fails when there is none."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.fail(
        f"the Debian package {package} is missing: `make test-system` installs it, or"
        f" says how (apt-get install {package})",
        pytrace=False,
    )


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client that no proxy comes between."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def alertmanager(tmp_path: Path, http: httpx.AsyncClient) -> AsyncIterator[str]:
    """The URL of a real Alertmanager that knows no alert yet and notifies no person."""
    path = program("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
    home = tmp_path / "alertmanager"
    home.mkdir()
    config, log = home / "alertmanager.yml", home / "log"
    config.write_text(CONFIG)
    registry = PortRegistry(home / "ports.json")  # kept, so that no other is given the port
    address = f"127.0.0.1:{registry.pick('alertmanager')}"
    options = (
        f"--config.file={config}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",  # one alone: no gossip, no further port
    )
    url = f"http://{address}"
    async with running(http, log, f"{url}/-/ready", path, *options):
        yield url
