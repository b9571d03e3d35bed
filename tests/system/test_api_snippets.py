"""docs/api.md: its programs in JavaScript, by a real Node, and its commands, by a real curl."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import STANDARD_PORTS
from tests.developers import pasted
from tests.developers.snippets import Shell, run, saved, ways_in
from tests.developers.world import CREDITS, Developer
from tests.system.conftest import program


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """All parts, as `duragen up` has them."""
    options = SandboxOptions(credits=CREDITS)
    with LocalStack(tmp_path_factory.mktemp("developers"), options=options) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client as patient as a slow machine needs."""
    async with httpx.AsyncClient(timeout=100, trust_env=False) as client:
        yield client


@pytest.fixture
async def developer(whole: LocalStack, http: httpx.AsyncClient) -> Developer:
    """A new one."""
    return await Developer.new(whole, http)


@pytest.fixture(scope="session")
def node() -> str:
    """Where Node is."""
    return program("nodejs", "node", "nodejs")


@pytest.fixture
def client(node: str, tmp_path: Path) -> tuple[str, str]:
    """The command that runs `client.mjs`."""
    return node, saved("client.mjs", tmp_path)


class TestClient(pasted.Client):
    """In JavaScript, by a real Node."""


async def test_the_receiver(developer: Developer, tmp_path: Path, node: str) -> None:
    """A real delivery is verified; a forged one and an old one are refused.

    At the port that `duragen up` allows.
    """
    port, command = developer.stack.ports.receiver, (node, saved("receiver.mjs", tmp_path))
    await pasted.receiver_verifies(developer, tmp_path, port, *command)


async def test_the_ways_in_of_the_readme(whole: LocalStack) -> None:
    """Each of its commands for this machine starts a generation."""
    program("curl", "curl")
    ports = {STANDARD_PORTS.gateway: whole.ports.gateway, STANDARD_PORTS.odoo: whole.ports.odoo}
    filled = {
        "DEVELOPER_KEY": whole.secrets.developer_key,
        "MODEL_ID": str(FLUX_MODEL_ID),
        ".venv/bin/": f"{Path(sys.executable).parent}/",
        **{f"127.0.0.1:{usual}": f"127.0.0.1:{port}" for usual, port in ports.items()},
    }
    said = []
    for command in ways_in():
        for placeholder, value in filled.items():
            command = command.replace(placeholder, value)  # noqa: PLW2901
        said.append(await run("bash", "-c", command, folder=whole.home, **whole.environment))
    [(_, api), (code, command_line)] = said
    assert '"status":"pending"' in api
    assert (code, "generation-" in command_line) == (0, True)


async def test_the_commands(whole: LocalStack, tmp_path: Path) -> None:
    """Each is answered, in the page's order, with the key of `duragen up`."""
    program("curl", "curl")
    known = {"KEY": whole.secrets.developer_key}
    shell = Shell(tmp_path, whole.gateway_url, known, whole.ports.receiver)
    (
        image,
        status,
        webhook,
        test,
        late,
        canceled,
        estimate,
        listed,
        sent,
        again,
        rotated,
    ) = await shell.pastes_all()
    assert (image["status"], status["status"]) == ("completed", "completed")
    assert image["jobId"] == status["jobId"] == canceled["jobId"]
    assert webhook["enabled"]
    assert test["event"] == "webhook.test"
    assert late["cancelAt"] > late["createdAt"]
    assert estimate["price"] == 1
    assert image["jobId"] in [job["jobId"] for job in listed["jobs"]]
    assert sent["deliveries"][-1]["id"] == test["id"]
    assert again == {"count": 1}
    assert rotated["secret"] != webhook["secret"]
