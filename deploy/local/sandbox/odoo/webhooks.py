"""Webhooks of the sandbox Odoo's API users; answers as the addon does (`models/api_webhooks.py`).

A delivery is written in the transaction of what has happened; `starting.py` has Duragen make the
attempts, which asks here for the request to send and says what came of it.
"""

import base64
import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from standardwebhooks import Webhook

from deploy.local.sandbox.odoo.refusals import NO_PAGE, RefusedError, iso

EVENTS = {
    "generation.started": "processing",
    "generation.completed": "completed",
    "generation.failed": "failed",
    "generation.canceled": "canceled",
}
MOST_ENDPOINTS = 10
PREVIOUS_SECONDS = 24 * 3_600
SAME_ROTATION_SECONDS = 300
FAILING_SECONDS = 5 * 24 * 3_600
ATTEMPTS = 8

_SCHEMA = """
CREATE TABLE IF NOT EXISTS webhooks (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events TEXT NOT NULL,
    payload TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    disabled_why TEXT,
    failing_since REAL,
    secret TEXT NOT NULL,
    previous_secret TEXT,
    previous_until REAL,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS webhook_deliveries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    message_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    event TEXT NOT NULL,
    job_id TEXT,
    happened_at REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0,
    last_at REAL,
    last_status INTEGER,
    last_milliseconds INTEGER,
    last_answer TEXT
);
CREATE INDEX IF NOT EXISTS webhook_deliveries_waiting ON webhook_deliveries (number)
    WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS webhooks_of_user ON webhooks (user_id);
"""
_ENDS = {"delivered": "delivered", "gone": "failed", "dropped": "dropped", "failed": "sending"}

View = Callable[[str], dict[str, Any]]
"""A job as its user sees it."""


class Webhooks:
    """Over the ledger's database."""

    def __init__(self, database: sqlite3.Connection, view: View) -> None:
        self.fresh: list[str] = []
        """Deliveries that were written and not handed over yet."""
        self._db = database
        self._view = view
        self._db.executescript(_SCHEMA)
        self.methods: dict[str, Callable[..., dict[str, Any]]] = {
            "webhook_create": self._create,
            "webhook_list": self._list,
            "webhook_get": lambda user, which: _shown(self._own(user, which)),
            "webhook_update": self._update,
            "webhook_delete": self._delete,
            "webhook_rotate": self._rotate,
            "webhook_test": self._test,
            "webhook_deliveries": self._deliveries,
            "webhook_redeliver": self._redeliver,
        }

    def emit(self, event: str, user_id: str, job_id: str) -> None:
        """Write a delivery for each endpoint of the user that wants this event."""
        rows = self._db.execute(
            "SELECT id, events FROM webhooks WHERE user_id = ? AND enabled = 1", (user_id,)
        )
        for row in rows.fetchall():
            if event in json.loads(row["events"]):
                self._made(row["id"], event, job_id)

    def waiting(self) -> list[str]:
        """Deliveries that Duragen does not have yet."""
        rows = self._db.execute(
            "SELECT id FROM webhook_deliveries WHERE state = 'waiting' ORDER BY number LIMIT 200"
        )
        return [row["id"] for row in rows]

    def delivery(self, delivery_id: str) -> dict[str, Any] | None:
        """All that is known of one."""
        row = self._db.execute(
            "SELECT * FROM webhook_deliveries WHERE id = ?", (delivery_id,)
        ).fetchone()
        return dict(row) if row else None

    def handed_over(self, delivery_id: str) -> None:
        """Duragen has it."""
        self._db.execute(
            "UPDATE webhook_deliveries SET state = 'sending' WHERE id = ? AND state = 'waiting'",
            (delivery_id,),
        )

    def prepared(self, delivery_id: str) -> dict[str, Any]:
        """The request to send, signed now; or why none is."""
        delivery = self.delivery(delivery_id)
        webhook = delivery and self._row(delivery["webhook_id"])
        if not delivery or not webhook or not webhook["enabled"]:
            self._db.execute(
                "UPDATE webhook_deliveries SET state = 'dropped' WHERE id = ?", (delivery_id,)
            )
            return {"drop": "the webhook is switched off, or gone"}
        body = json.dumps(self._content(delivery, webhook))
        now, identity = datetime.now(UTC), delivery["message_id"]
        signing = [webhook["secret"]]
        if (webhook["previous_until"] or 0) > now.timestamp():
            signing.append(webhook["previous_secret"])
        return {
            "url": webhook["url"],
            "body": body,
            "headers": {
                "Content-Type": "application/json",
                "webhook-id": identity,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(
                    Webhook(secret).sign(identity, now, body) for secret in signing
                ),
            },
        }

    def reported(self, delivery_id: str, said: dict[str, Any]) -> dict[str, bool]:
        """Note what came of an attempt; whether the webhook is off because it fails for days.

        The same report twice changes nothing.
        """
        delivery, attempt, end = self.delivery(delivery_id), said["attempt"], said["end"]
        if not delivery or attempt < delivery["attempts"]:
            return {"failing": False}
        state = "failed" if end == "failed" and attempt >= ATTEMPTS else _ENDS[end]
        now = time.time()
        self._db.execute(
            "UPDATE webhook_deliveries SET attempts = ?, last_at = ?, last_status = ?,"
            " last_milliseconds = ?, last_answer = ?, state = ? WHERE id = ?",
            (
                *(attempt, now, said.get("status"), said.get("milliseconds")),
                *((said.get("answer") or "")[:300], state, delivery_id),
            ),
        )
        which = delivery["webhook_id"]
        if end == "delivered":
            self._set(which, failing_since=None)
        elif end == "gone":
            self._set(which, enabled=0, disabled_why="gone")
        elif end == "failed":
            self._db.execute(
                "UPDATE webhooks SET failing_since = coalesce(failing_since, ?) WHERE id = ?",
                (now, which),
            )
            if attempt >= ATTEMPTS:
                self._db.execute(
                    "UPDATE webhooks SET enabled = 0, disabled_why = 'failing' WHERE id = ?"
                    " AND failing_since < ?",
                    (which, now - FAILING_SECONDS),
                )
        row = self._row(which)
        failing = bool(row and row["disabled_why"] == "failing")
        return {"failing": end == "failed" and failing}

    def _content(self, delivery: dict[str, Any], webhook: sqlite3.Row) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if delivery["job_id"]:
            job = self._view(delivery["job_id"])
            data = {**job, "status": EVENTS.get(delivery["event"], job["status"])}
            if webhook["payload"] == "thin":
                data = {name: data[name] for name in ("jobId", "status")}
        at = iso(delivery["happened_at"])
        return {"type": delivery["event"], "timestamp": at, "data": data}

    def _made(
        self, webhook_id: str, event: str, job_id: str | None, message_id: str | None = None
    ) -> str:
        made = str(uuid4())
        self._db.execute(
            "INSERT INTO webhook_deliveries (id, message_id, webhook_id, event, job_id,"
            " happened_at) VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(made, message_id or f"msg_{uuid4().hex}", webhook_id),
                *(event, job_id, time.time()),
            ),
        )
        self.fresh.append(made)
        return made

    def _row(self, webhook_id: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM webhooks WHERE id = ?", (webhook_id,)
        ).fetchone()
        return found

    def _own(self, user: str, which: Any) -> sqlite3.Row:
        found = self._row(str(which).lower())
        if found is None or found["user_id"] != user:
            raise RefusedError("NOT_FOUND", 404, "There is no such webhook.")
        return found

    def _on(self, user: str, which: Any) -> sqlite3.Row:
        found = self._own(user, which)
        if not found["enabled"]:
            raise RefusedError("CONFLICT", 409, "It is switched off.")
        return found

    def _set(self, webhook_id: str, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(
            f"UPDATE webhooks SET {names} WHERE id = ?",  # noqa: S608  # our own names
            (*values.values(), webhook_id),
        )

    def _create(self, user: str, vals: dict[str, Any]) -> dict[str, Any]:
        (count,) = self._db.execute(
            "SELECT count(*) FROM webhooks WHERE user_id = ?", (user,)
        ).fetchone()
        if count >= MOST_ENDPOINTS:
            raise RefusedError("CONFLICT", 409, f"At most {MOST_ENDPOINTS} webhooks a user.")
        made, secret = str(uuid4()), _new_secret()
        events = vals.get("events", list(EVENTS)[1:])
        self._db.execute(
            "INSERT INTO webhooks (id, user_id, url, description, events, payload, enabled,"
            " secret, created_at) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)",
            (
                *(made, user, vals["url"], vals.get("description", ""), json.dumps(events)),
                *(vals.get("payload", "full"), secret, time.time()),
            ),
        )
        return {**_shown(self._own(user, made)), "secret": secret}

    def _list(self, user: str) -> dict[str, Any]:
        rows = self._db.execute(
            "SELECT * FROM webhooks WHERE user_id = ? ORDER BY number DESC", (user,)
        )
        return {"webhooks": [_shown(row) for row in rows]}

    def _update(self, user: str, which: Any, vals: dict[str, Any]) -> dict[str, Any]:
        own = self._own(user, which)
        shown = ("url", "description", "payload")
        known: dict[str, Any] = {name: vals[name] for name in shown if name in vals}
        if "events" in vals:
            known["events"] = json.dumps(vals["events"])
        if "enabled" in vals:
            known["enabled"] = int(vals["enabled"])
            known |= {"disabled_why": None if vals["enabled"] else "user", "failing_since": None}
        if known:
            self._set(own["id"], **known)
        return _shown(self._own(user, which))

    def _delete(self, user: str, which: Any) -> dict[str, Any]:
        own = self._own(user, which)
        self._db.execute("DELETE FROM webhooks WHERE id = ?", (own["id"],))
        return {"id": own["id"]}

    def _rotate(self, user: str, which: Any) -> dict[str, Any]:
        own, now = self._own(user, which), time.time()
        if (own["previous_until"] or 0) < now + PREVIOUS_SECONDS - SAME_ROTATION_SECONDS:
            new = {"secret": _new_secret(), "previous_until": now + PREVIOUS_SECONDS}
            self._set(own["id"], previous_secret=own["secret"], **new)
        own = self._own(user, which)
        until = iso(own["previous_until"])
        return {**_shown(own), "secret": own["secret"], "previousSecretUntil": until}

    def _test(self, user: str, which: Any) -> dict[str, Any]:
        return self._delivery_view(self._made(self._on(user, which)["id"], "webhook.test", None))

    def _deliveries(
        self, user: str, which: Any, filters: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        own, given = self._own(user, which), filters or {}
        limit = int(given.get("limit", 20))
        after = self.delivery(str(given.get("after", "")).lower())
        if given.get("after") and (not after or after["webhook_id"] != own["id"]):
            raise RefusedError("INVALID_INPUT", 422, NO_PAGE)
        rows = self._db.execute(
            "SELECT id FROM webhook_deliveries WHERE webhook_id = ? AND number < ?"
            " ORDER BY number DESC LIMIT ?",
            (own["id"], after["number"] if after else 2**62, limit + 1),
        ).fetchall()
        ids = [row["id"] for row in rows]
        shown = [self._delivery_view(each) for each in ids[:limit]]
        return {"deliveries": shown, "next": ids[limit - 1] if len(ids) > limit else None}

    def _redeliver(self, user: str, which: Any, what: dict[str, Any]) -> dict[str, Any]:
        own = self._on(user, which)
        if one := what.get("delivery"):
            wanted, value = "id = ?", str(one)
        elif since := what.get("since"):
            wanted = (
                "happened_at >= ? AND message_id NOT IN (SELECT message_id FROM webhook_deliveries"
                " WHERE state IN ('waiting', 'sending'))"
            )
            value = str(datetime.fromisoformat(since).timestamp())
        else:
            raise RefusedError("INVALID_INPUT", 422, "delivery or since: is missing")
        rows = self._db.execute(
            "SELECT message_id, event, job_id FROM webhook_deliveries WHERE webhook_id = ?"  # noqa: S608
            f" AND {wanted} GROUP BY message_id ORDER BY min(number) LIMIT 1000",
            (own["id"], float(value) if what.get("since") and not one else value),
        ).fetchall()
        if one and not rows:
            raise RefusedError("NOT_FOUND", 404, "There is no such delivery.")
        for row in rows:
            self._made(own["id"], row["event"], row["job_id"], row["message_id"])
        return {"count": len(rows)}

    def _delivery_view(self, delivery_id: str) -> dict[str, Any]:
        found = self.delivery(delivery_id)
        if found is None:
            raise LookupError(delivery_id)
        return {
            "id": found["id"],
            "messageId": found["message_id"],
            "event": found["event"],
            "jobId": found["job_id"],
            "status": found["state"],
            "attempts": found["attempts"],
            "lastAttemptAt": iso(found["last_at"]) if found["last_at"] else None,
            "lastStatus": found["last_status"],
            "lastMilliseconds": found["last_milliseconds"],
            "lastAnswer": found["last_answer"] or "",
            "createdAt": iso(found["happened_at"]),
        }


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "url": row["url"],
        "description": row["description"],
        "events": json.loads(row["events"]),
        "payload": row["payload"],
        "enabled": bool(row["enabled"]),
        "disabledWhy": row["disabled_why"],
        "failingSince": iso(row["failing_since"]) if row["failing_since"] else None,
        "createdAt": iso(row["created_at"]),
    }


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
