"""What others wrote in alerts, logs and pages: shown, and harmless where it is shown."""

import importlib
import inspect
import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.alerts import AdminAlert
from contracts.errors import ErrorCode
from deploy.local.sandbox.notifications import page as notifications_page
from deploy.local.sandbox.notifications.records import Alert
from deploy.local.sandbox.odoo import page as odoo_page
from otel.logs import JsonFormatter
from tests.starter.hostile import HOSTILE, faults_of
from workflows import alert_texts

ROOT = Path(__file__).parents[2]
GIVEN: dict[str, Any] = {
    "last_answer": HOSTILE,
    "provider": "openai",
    "code": ErrorCode.AUTH_CONFIG,
    "page": True,
    "minutes": 5.0,
    **dict.fromkeys(("count", "calls", "perhaps_paid"), 3),
}
"""What the texts of alerts are made of; a new one must be given here."""

ALERTS = {
    name: made
    for name, made in inspect.getmembers(alert_texts, inspect.isfunction)
    if made.__module__ == alert_texts.__name__ and not name.startswith("_")
}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_no_live_link(name: str) -> None:
    """Chats and mail make links and mentions of bare text, each in its own syntax."""
    made: Callable[..., AdminAlert] = ALERTS[name]
    wanted = inspect.signature(made).parameters
    alert = made(**{each: GIVEN[each] for each in wanted})
    assert ("MARK" in alert.description) == ("last_answer" in wanted)
    for text in (alert.summary, alert.description, alert.service, alert.error_type):
        assert faults_of(text) == []
        assert "\n" not in text
        assert not re.search(r"://|\]\(|[<>@]", text)


def _fail() -> None:
    raise ValueError(HOSTILE)


def test_a_line_of_the_log_is_one_line() -> None:
    """Message, extras, their names, exceptions: nothing forges a line, or steers who reads it."""
    try:
        _fail()
    except ValueError:
        failed = sys.exc_info()
    record = logging.LogRecord("a", logging.INFO, __file__, 1, "said: %s", (HOSTILE,), failed)
    vars(record).update({"detail": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE, object()]}})
    line = JsonFormatter().format(record)
    assert line.isprintable(), [ascii(c) for c in line if not c.isprintable()]
    said = json.loads(line)
    assert said["message"] == f"said: {HOSTILE}"
    assert said["detail"] == HOSTILE
    assert HOSTILE in said["exception"]


def _requests() -> str:
    """The sandbox Odoo's page of one request."""
    texts = ("prompt", "request_id", "format", "error_code", "user_message", "state", "image_url")
    numbers = ("entries", "delivered", "width", "height", "size", "updated_at")
    return odoo_page.page([{**dict.fromkeys(texts, HOSTILE), **dict.fromkeys(numbers, 1)}])


def _notifications() -> str:
    """The notification sandbox's page of an alert and a notification."""
    labels = {HOSTILE: HOSTILE, "alertname": HOSTILE, "severity": HOSTILE}
    said = {"summary": HOSTILE, "description": HOSTILE}
    alert = Alert(HOSTILE, labels, said, 0, 0, 0, HOSTILE, timed_out=False)
    body = json.dumps({"userMsg": HOSTILE})
    notification = dict.fromkeys(("kind", "user_id", "request_id", "effect"), HOSTILE)
    return notifications_page.page([alert], [{**notification, "body": body, "at": 0}])


PAGES = {
    "deploy/local/sandbox/odoo/page.py": _requests,
    "deploy/local/sandbox/notifications/page.py": _notifications,
}


@pytest.mark.parametrize(
    "path", [str(p.relative_to(ROOT)) for p in (ROOT / "deploy/local").rglob("page.py")]
)
def test_a_page_holds_no_markup_of_others(path: str) -> None:
    """Each page has its rows here: text stays text, and no script would run."""
    shown = PAGES[path]()
    assert "MARK" in shown
    assert faults_of(shown) == []
    assert "evil.example" in shown
    assert not re.search(r"<(img|a|script)\b[^>]*evil", shown)
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    assert "default-src 'none'" in module.CONTENT_SECURITY_POLICY
    assert "script-src" not in module.CONTENT_SECURITY_POLICY
