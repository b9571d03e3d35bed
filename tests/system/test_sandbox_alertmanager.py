"""The sandbox of Alertmanager beside the real one: what Duragen sends comes to the same alerts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.stack.local_stack import LocalStack
from tests.deploy.test_sandbox_notifications import ALERTS, GOOD


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the sandbox answers."""
    with LocalStack(tmp_path_factory.mktemp("sandbox"), ("notifications",)) as stack:
        yield stack.notifications_url


@pytest.mark.parametrize("body", GOOD)
async def test_it_takes_the_same(
    sandbox: str, alertmanager: str, http: httpx.AsyncClient, body: object
) -> None:
    """What the sandbox takes, the real one takes."""
    ours = await http.post(sandbox + ALERTS, json=body)
    theirs = await http.post(alertmanager + ALERTS, json=body)
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content) == (200, b"")


async def test_it_shows_the_same(sandbox: str, alertmanager: str, http: httpx.AsyncClient) -> None:
    """An alert looks alike in both, but for its fingerprint and for who receives it."""
    name, since = f"A{uuid4().hex}", datetime.now(UTC) - timedelta(seconds=9)
    body = [{"labels": {"alertname": name}, "startsAt": since.isoformat()}]
    shown: list[dict[str, Any]] = []
    for url in (sandbox, alertmanager):
        await http.post(url + ALERTS, json=body)
        alerts = (await http.get(url + ALERTS)).json()
        [alert] = [each for each in alerts if each["labels"] == {"alertname": name}]
        assert alert.pop("receivers")
        shown.append(alert)
    for moving in ("endsAt", "updatedAt", "fingerprint"):
        assert len({len(alert.pop(moving)) for alert in shown}) == 1
    assert shown[0] == shown[1]
