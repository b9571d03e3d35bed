"""The sandbox of Alertmanager beside the real one: the same answers, the same alerts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.deploy.test_sandbox_notices import ALERTS, BAD, GOOD

from deploy.local.stack.local_stack import LocalStack


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the sandbox answers."""
    with LocalStack(tmp_path_factory.mktemp("sandbox"), ("notifications",)) as stack:
        yield stack.notifications_url


@pytest.mark.parametrize("body", [*GOOD, *(body for body, _ in BAD)])
async def test_it_answers_the_same(
    sandbox: str, alertmanager: str, http: httpx.AsyncClient, body: object
) -> None:
    """Status, and the text where it is not about Go's own types, are the real one's."""
    ours = await http.post(sandbox + ALERTS, json=body)
    theirs = await http.post(alertmanager + ALERTS, json=body)
    assert ours.status_code == theirs.status_code
    if theirs.content and "failed, because" not in theirs.text:
        assert ours.json() == theirs.json()


async def test_it_shows_the_same(sandbox: str, alertmanager: str, http: httpx.AsyncClient) -> None:
    """An alert looks alike in both, but for who receives it."""
    name, since = f"A{uuid4().hex}", datetime.now(UTC) - timedelta(seconds=9)
    body = [{"labels": {"alertname": name}, "startsAt": since.isoformat()}]
    shown: list[dict[str, Any]] = []
    for url in (sandbox, alertmanager):
        await http.post(url + ALERTS, json=body)
        [alert] = (await http.get(url + ALERTS, params={"filter": f"alertname={name}"})).json()
        assert alert.pop("receivers")
        shown.append(alert)
    for moving in ("endsAt", "updatedAt"):
        assert len({len(alert.pop(moving)) for alert in shown}) == 1
    assert shown[0] == shown[1]
