"""What the notification sandbox received: notifications of users, alerts of administrators.

SQLite, committed before the answer leaves: `kill -9` at any moment loses nothing that was answered.
A notification that was new is unique by its idempotency key: the database says so.
"""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('error', 'success')),
    request_id TEXT,
    user_id TEXT,
    idempotency_key TEXT,
    correlation_id TEXT,
    traceparent TEXT,
    effect TEXT NOT NULL,
    body TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS new_once ON notifications (idempotency_key)
    WHERE effect = 'new';
CREATE INDEX IF NOT EXISTS notifications_by_request ON notifications (request_id);
CREATE TABLE IF NOT EXISTS alert_posts (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    answer INTEGER NOT NULL,
    body TEXT
);
CREATE TABLE IF NOT EXISTS alerts (
    fingerprint TEXT PRIMARY KEY,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    starts_at REAL NOT NULL,
    ends_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    generator_url TEXT NOT NULL,
    timed_out INTEGER NOT NULL
);
"""


class Notification(NamedTuple):
    """One POST as it came: `kind` is `error` or `success`, the keys are its headers."""

    kind: str
    request_id: str | None = None
    user_id: str | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None


class Alert(NamedTuple):
    """One alert as Alertmanager keeps it. Times in seconds since 1970.

    `timed_out`: the sender named no end, so that it ends by itself.
    """

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    ends_at: float
    updated_at: float
    generator_url: str
    timed_out: bool


class NotificationRecords:
    """The file in the state folder; one per process, used from the event loop's thread."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(state / "notifications.sqlite", isolation_level=None)
        self._db.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def notify(self, notification: Notification, body: str) -> str:
        """Writes a notification down; `new`, or `repeated` when its key was there already.

        Without a key a repeat cannot be recognized, so that it is new each time.
        """
        with self._transaction():
            known = self._db.execute(
                "SELECT 1 FROM notifications WHERE idempotency_key = ? AND effect = 'new'",
                (notification.idempotency_key,),
            ).fetchone()
            effect = "repeated" if known else "new"
            self._record(notification, effect, body)
        return effect

    def refuse(self, notification: Notification, reason: str, body: str) -> None:
        """Writes down a notification that was not taken, and why."""
        self._record(notification, reason, body)

    def notifications(
        self, request_id: str | None = None, latest: int | None = None
    ) -> list[dict[str, Any]]:
        """What came, repeats and refused ones too, in order; or the `latest`, newest first."""
        order = "id" if latest is None else "id DESC"
        rows = self._db.execute(
            "SELECT * FROM notifications WHERE ? IS NULL OR request_id = ?"  # noqa: S608  # a column
            f" ORDER BY {order} LIMIT ?",
            (request_id, request_id, -1 if latest is None else latest),
        )
        return [dict(row) for row in rows]

    def put_alerts(self, alerts: list[Alert], answer: int, body: str) -> None:
        """One POST to Alertmanager: its good alerts are merged with those that are known."""
        now = time.time()
        with self._transaction():
            for alert in alerts:
                old = self._alert(alert.fingerprint)
                kept = merged(old, alert, now) if old else alert
                labels, annotations = json.dumps(kept.labels), json.dumps(kept.annotations)
                self._db.execute(
                    "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (kept.fingerprint, labels, annotations, *kept[3:]),
                )
            self._db.execute(
                "INSERT INTO alert_posts (at, answer, body) VALUES (?, ?, ?)", (now, answer, body)
            )

    def active_alerts(self) -> list[Alert]:
        """Those that have not ended, in the order of their fingerprints."""
        rows = self._db.execute(
            "SELECT * FROM alerts WHERE ends_at >= ? ORDER BY fingerprint", (time.time(),)
        )
        return [_alert_in(row) for row in rows]

    def alert_posts(self) -> list[dict[str, Any]]:
        """Every POST in order, with what it was answered and its body parsed where it is JSON."""
        rows = self._db.execute("SELECT * FROM alert_posts ORDER BY id")
        return [dict(row) | {"body": _parsed(row["body"])} for row in rows]

    def _alert(self, fingerprint: str) -> Alert | None:
        row = self._db.execute(
            "SELECT * FROM alerts WHERE fingerprint = ?", (fingerprint,)
        ).fetchone()
        return _alert_in(row) if row else None

    def _record(self, notification: Notification, effect: str, body: str) -> None:
        self._db.execute(
            "INSERT INTO notifications (at, kind, request_id, user_id, idempotency_key,"
            " correlation_id, traceparent, effect, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (time.time(), *notification, effect, body),
        )

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db  # as a context manager it commits, or rolls back on an exception


def merged(old: Alert, new: Alert, now: float) -> Alert:
    """What Alertmanager makes of an alert that it knows already (provider/mem, model.Alert.Merge).

    Those that overlap are one, which began when the first began; an end that a sender named wins
    over one that was only a time limit, and the later one over the earlier while it lasts.
    """
    if not any(old.starts_at < at < old.ends_at for at in (new.starts_at, new.ends_at)):
        return new
    ends_at = new.ends_at
    if old.ends_at > new.ends_at:
        takes_old = old.ends_at <= now if new.ends_at <= now else not old.timed_out
        ends_at = old.ends_at if takes_old else ends_at
    return new._replace(starts_at=min(old.starts_at, new.starts_at), ends_at=ends_at)


def _alert_in(row: sqlite3.Row) -> Alert:
    alert = Alert(*row)
    return alert._replace(
        labels=json.loads(row["labels"]),
        annotations=json.loads(row["annotations"]),
        timed_out=bool(alert.timed_out),
    )


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
