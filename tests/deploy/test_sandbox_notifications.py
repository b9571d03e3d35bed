"""The notification sandbox: each notification once; alerts as Alertmanager shows them."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.sandbox.notifications.alertmanager import fingerprint
from deploy.local.sandbox.notifications.page import page
from deploy.local.sandbox.notifications.records import (
    Alert,
    Notification,
    NotificationRecords,
    merged,
)
from deploy.local.stack.local_stack import LocalStack

Json = dict[str, Any]
ERROR, SUCCESS = "/notify/generation-error", "/notify/generation-success"
ALERTS = "/api/v2/alerts"


@pytest.fixture
async def notifications(sandboxes: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the notification service's token."""
    headers = {"Authorization": f"Bearer {sandboxes.secrets.notify_token}"}
    async with httpx.AsyncClient(
        base_url=sandboxes.notifications_url, headers=headers, trust_env=False
    ) as client:
        yield client


@pytest.fixture
def message() -> Json:
    """What a failed generation says to its user."""
    ids = {"generationRequestId": str(uuid4()), "userId": str(uuid4())}
    return ids | {"userMsg": "<b>Busy</b>, please try again.", "retrySuggestion": True}


async def _notified(notifications: httpx.AsyncClient, message: Json) -> list[Json]:
    wanted = {"request_id": message["generationRequestId"]}
    return (await notifications.get("/_sandbox/notifications", params=wanted)).json()


@pytest.mark.parametrize("path", [ERROR, SUCCESS])
async def test_a_repeat_is_not_new(
    notifications: httpx.AsyncClient, message: Json, path: str
) -> None:
    """The same Idempotency-Key again is answered as well, and written down as repeated."""
    key = {"Idempotency-Key": f"{message['generationRequestId']}.x"}
    for _ in range(2):
        answer = await notifications.post(path, json=message, headers=key)
        assert answer.status_code == 202
    effects = [each["effect"] for each in await _notified(notifications, message)]
    assert effects == ["new", "repeated"]


async def test_without_a_key_each_is_new(notifications: httpx.AsyncClient, message: Json) -> None:
    """A repeat without a key cannot be recognized; another key is news, too."""
    for headers in ({}, {}, {"Idempotency-Key": "a"}, {"Idempotency-Key": f"{uuid4()}"}):
        await notifications.post(ERROR, json=message, headers=headers)
    assert [each["effect"] for each in await _notified(notifications, message)] == ["new"] * 4


@pytest.mark.parametrize("change", [{"userMsg": ""}, {"userId": None}, {"userMsg": 5}])
async def test_half_a_message(
    notifications: httpx.AsyncClient, message: Json, change: Json
) -> None:
    """A message that says too little is a 422, and no user is notified."""
    assert (await notifications.post(ERROR, json=message | change)).status_code == 422
    assert await _notified(notifications, message) == []


async def test_wrong_token(notifications: httpx.AsyncClient, message: Json) -> None:
    """A wrong bearer token is a 401."""
    notifications.headers["Authorization"] = "Bearer wrong"
    assert (await notifications.post(ERROR, json=message)).status_code == 401


async def test_a_broken_service(notifications: httpx.AsyncClient, message: Json) -> None:
    """A fault meets every notification until it is taken back, and no user is notified."""
    await notifications.put("/_sandbox/faults", json={"status": 503})
    assert (await notifications.post(ERROR, json=message)).status_code == 503
    await notifications.put("/_sandbox/faults", json={})
    assert (await notifications.post(ERROR, json=message)).status_code == 202
    assert [each["effect"] for each in await _notified(notifications, message)] == ["new"]


async def test_a_late_answer(notifications: httpx.AsyncClient, message: Json) -> None:
    """What is answered late was written down before: whoever gave up sends a repeat."""
    key = {"Idempotency-Key": str(uuid4())}
    await notifications.put("/_sandbox/faults", json={"late_seconds": 5})
    with pytest.raises(httpx.ReadTimeout):
        await notifications.post(ERROR, json=message, headers=key, timeout=0.3)
    await notifications.put("/_sandbox/faults", json={})
    assert (await notifications.post(ERROR, json=message, headers=key)).json() == {
        "status": "repeated"
    }


async def test_other_paths(notifications: httpx.AsyncClient, message: Json) -> None:
    """There are two kinds of notifications."""
    assert (await notifications.post("/notify/generation-x", json=message)).status_code == 404


async def test_what_was_received_survives_kill(
    notifications: httpx.AsyncClient, message: Json, sandboxes: LocalStack
) -> None:
    """After `kill -9` a repeat is still known as one, and an alert still fires."""
    key, labels = {"Idempotency-Key": str(uuid4())}, {"alertname": f"A{uuid4().hex}"}
    await notifications.post(ERROR, json=message, headers=key)
    await notifications.post(ALERTS, json=[{"labels": labels}])
    service = sandboxes.supervisor("notifications")
    service.kill()
    service.wait_ready(30)
    assert (await notifications.post(ERROR, json=message, headers=key)).json() == {
        "status": "repeated"
    }
    assert labels in [each["labels"] for each in (await notifications.get(ALERTS)).json()]


def _from_now(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def _firing(notifications: httpx.AsyncClient, name: str) -> list[Json]:
    alerts = (await notifications.get(ALERTS)).json()
    return [alert for alert in alerts if alert["labels"]["alertname"] == name]


async def test_an_alert_fires_until_its_end(notifications: httpx.AsyncClient) -> None:
    """Raised, raised again (still one, and as old as it is), resolved; every post is kept."""
    name = f"A{uuid4().hex}"
    labels = {"alertname": name, "severity": "critical"}
    for since in (-60, 0):
        alert = {"labels": labels, "startsAt": _from_now(since), "endsAt": _from_now(60)}
        answer = await notifications.post(ALERTS, json=[alert])
        assert (answer.status_code, answer.content) == (200, b"")
    (firing,) = await _firing(notifications, name)
    began = datetime.fromisoformat(firing["startsAt"])
    assert timedelta(seconds=59) < datetime.now(UTC) - began < timedelta(seconds=70)
    assert firing["status"] == {"inhibitedBy": [], "silencedBy": [], "state": "active"}
    assert firing["fingerprint"] == fingerprint(labels)
    await notifications.post(ALERTS, json=[{"labels": labels, "endsAt": _from_now(0)}])
    assert await _firing(notifications, name) == []
    posts = (await notifications.get("/_sandbox/alerts")).json()
    assert sum(post["body"][0]["labels"] == labels for post in posts if post["body"]) == 3


async def test_the_page_shows_both(notifications: httpx.AsyncClient, message: Json) -> None:
    """The page shows alerts and notifications, as text, and a browser may run nothing on it."""
    name = f"A{uuid4().hex}"
    annotations = {"summary": "<script>"}
    await notifications.post(
        ALERTS, json=[{"labels": {"alertname": name}, "annotations": annotations}]
    )
    await notifications.post(ERROR, json=message)
    shown = await notifications.get("/")
    assert name in shown.text
    assert "&lt;script&gt;" in shown.text
    assert "&lt;b&gt;Busy&lt;/b&gt;, please try again." in shown.text
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_page_escapes_everything() -> None:
    """Whatever was sent, the page's own markup is all there is."""
    bad = "<script>\"'"
    texts = dict.fromkeys(("kind", "request_id", "user_id", "effect"), bad)
    alert = Alert(bad, {bad: bad, "severity": bad}, {"summary": bad}, 0, 0, 0, bad, timed_out=True)
    shown = page([alert], [texts | {"at": 0.0, "body": json.dumps({"userMsg": bad})}])
    assert "<script" not in shown
    assert "\"'" not in shown


LABELS = {"alertname": "A", "severity": "critical"}
GOOD = [
    [{"labels": LABELS, "annotations": {"summary": "x"}, "generatorURL": "http://x/y"}],
    [{"labels": LABELS | {"empty": ""}, "startsAt": "2026-01-01T00:00:00.123456789Z"}],
    [],
]
BAD = [
    [{"labels": {}}],
    [{"annotations": {}}],
    {},
    [{"labels": {"a-b": "c"}}],
    [{"labels": LABELS, "annotations": {"x-y": "1"}}],
    [{"labels": LABELS, "startsAt": "yesterday"}],
    [{"labels": {"a": 1}}],
]


@pytest.mark.parametrize("body", GOOD)
async def test_what_alertmanager_takes(notifications: httpx.AsyncClient, body: object) -> None:
    """Whatever Duragen sends, and no alert at all."""
    assert (await notifications.post(ALERTS, json=body)).status_code == 200


@pytest.mark.parametrize("body", BAD)
async def test_malformed_alerts(notifications: httpx.AsyncClient, body: object) -> None:
    """A post with a malformed alert is refused, and none of it is kept."""
    assert (await notifications.post(ALERTS, json=body)).status_code == 400


async def test_alertmanager_is_ready(notifications: httpx.AsyncClient) -> None:
    """What the doctor asks is answered."""
    assert (await notifications.get("/-/ready")).status_code == 200


def _alert(start: float, end: float, *, timed_out: bool = False) -> Alert:
    return Alert("f", LABELS, {}, start, end, 0, "", timed_out)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (_alert(0, 100), _alert(50, 200), (0, 200)),  # goes on
        (_alert(0, 100), _alert(50, 60), (0, 60)),  # resolved
        (_alert(0, 100), _alert(50, 90), (0, 100)),  # named ends: the later one
        (_alert(0, 100, timed_out=True), _alert(50, 90), (0, 90)),  # named beats a time limit
        (_alert(0, 40), _alert(50, 90), (50, 90)),  # another episode
    ],
)
def test_merging(old: Alert, new: Alert, expected: tuple[float, float]) -> None:
    """Now being 70: what becomes of start and end when an alert comes again."""
    kept = merged(old, new, 70)
    assert (kept.starts_at, kept.ends_at) == expected


def test_keys_are_unique_in_the_database(tmp_path: Path) -> None:
    """Two records on one file, as two processes would: the key is new once."""
    notification = Notification("error", "r", "u", idempotency_key="k")
    effects = [NotificationRecords(tmp_path).notify(notification, "{}") for _ in range(2)]
    assert effects == ["new", "repeated"]
