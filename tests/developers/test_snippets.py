"""docs/api.md: its programs in Python do what it says, and what it names is there.

Those in JavaScript, and the commands with curl, are run by `make test-system`.
"""

import sys
from pathlib import Path

import pytest

from contracts.webhooks import PAUSES_SECONDS
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID
from deploy.local.stack.ports import STANDARD_PORTS
from starter.gateway import problems
from starter.gateway.developers.desk import NAMES
from starter.gateway.developers.webhook_models import WebhookEvent
from tests.developers import pasted
from tests.developers.snippets import PAGE, programs, saved
from tests.developers.world import RECEIVER_PORTS, Developer


@pytest.fixture
def client(tmp_path: Path) -> tuple[str, str]:
    """The command that runs `client.py`."""
    return sys.executable, saved("client.py", tmp_path)


class TestClient(pasted.Client):
    """In Python."""


async def test_the_receiver(developer: Developer, tmp_path: Path) -> None:
    """A real delivery is verified; a forged one and an old one are refused."""
    port = RECEIVER_PORTS.pop()
    try:
        command = sys.executable, saved("receiver.py", tmp_path)
        await pasted.receiver_verifies(developer, tmp_path, port, *command)
    finally:
        RECEIVER_PORTS.append(port)


def test_each_program_has_a_name() -> None:
    """None is left out by accident."""
    assert set(programs()) == {"client.py", "client.mjs", "receiver.py", "receiver.mjs"}


def test_the_addresses_are_those_of_duragen_up() -> None:
    """Whoever pastes need not change them."""
    assert f"export API=http://127.0.0.1:{STANDARD_PORTS.gateway}\n" in PAGE
    assert f'"url": "http://127.0.0.1:{STANDARD_PORTS.receiver}/duragen"' in PAGE
    assert f'"PORT", "{STANDARD_PORTS.receiver}"' in PAGE
    assert f"PORT ?? {STANDARD_PORTS.receiver}" in PAGE
    assert str(FLUX_MODEL_ID) in PAGE


def test_every_refusal_has_its_line() -> None:
    """Status and name, of Odoo's refusals and of the gateway's own."""
    table = PAGE.partition("## Errors")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    lines = {(row[0].strip("| "), name) for row in rows for name in row[1].split(", ")}
    wanted = {*NAMES.values(), *problems.NAMES.items(), (404, "no_such_path"), (500, "internal")}
    assert {(str(status), f"`{name}`") for status, name in wanted} - lines == set()


def test_the_events_and_the_schedule() -> None:
    """As the code has them."""
    assert [event for event in WebhookEvent if f"`{event}`" not in PAGE] == []
    assert PAUSES_SECONDS == (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
    assert "at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h" in PAGE
