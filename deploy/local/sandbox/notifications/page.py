"""The only page of the notification sandbox: alerts that fire, and notifications."""

import json
import time
from collections.abc import Iterable
from html import escape
from typing import Any

from contracts.plain import plain
from deploy.local.sandbox.notifications.records import Alert

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
"""No script at all: what stands on the page came over the wire."""

_STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #8889; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto;
  padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 2rem 0 .3rem } p { margin: .2rem 0; overflow-wrap: anywhere }
article { padding: .8rem 0; border-top: 1px solid var(--line) }
h2 { font-size: 1rem; margin: 0; font-weight: 600; overflow-wrap: anywhere }
small { font-size: .8rem; color: var(--soft); overflow-wrap: anywhere }
.kind { border-radius: 1rem; padding: .1rem .7rem; font-size: .8rem; color: #fff;
  background: #868e96; float: right }
.critical, .error { background: #c92a2a } .warning { background: #b8860b }
.success { background: #2b8a3e }
"""


def page(alerts: Iterable[Alert], notifications: Iterable[dict[str, Any]]) -> str:
    """The whole document; every value in it is escaped."""
    firing = "\n".join(map(_alert, alerts)) or "<p>No alert fires.</p>"
    sent = "\n".join(map(_notification, notifications)) or "<p>No user was notified yet.</p>"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<title>Notification sandbox</title>
<style>{_STYLE}</style>
<h1>Alerts</h1>
{firing}
<h1>Notifications of users</h1>
{sent}
</html>"""


def _alert(alert: Alert) -> str:
    labels = " · ".join(f"{name}: {value}" for name, value in sorted(alert.labels.items()))
    severity = alert.labels.get("severity", "")
    said = [alert.annotations.get(name, "") for name in ("summary", "description")]
    return f"""<article>
<span class="kind {_text(severity)}">{_text(severity or "alert")}</span>
<h2>{_text(alert.labels.get("alertname", "an alert"))}</h2>
{"".join(f"<p>{_text(text)}</p>" for text in said if text)}
<small>{_text(labels)}<br>since {_when(alert.starts_at)}, until {_when(alert.ends_at)}</small>
</article>"""


def _notification(notification: dict[str, Any]) -> str:
    kind = str(notification["kind"])
    facts = f"user {notification['user_id']} · request {notification['request_id']}"
    return f"""<article>
<span class="kind {_text(kind)}">{_text(kind)}</span>
<h2>{_text(_message(notification["body"]) or "The image is ready.")}</h2>
<small>{_text(facts)}<br>{_when(notification["at"])} · {_text(notification["effect"])}</small>
</article>"""


def _message(body: str | None) -> str:
    try:
        said = json.loads(body or "")
    except ValueError:
        return ""
    return str(said.get("userMsg") or "") if isinstance(said, dict) else ""


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _text(value: object) -> str:
    return escape(plain(value), quote=True)
