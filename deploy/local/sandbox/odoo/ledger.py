"""The sandbox Odoo's database in SQLite: accounts, requests, credits, and every delivery.

One transaction per event, committed before the answer leaves: `kill -9` at any moment leaves an
event either booked and answered, booked and unanswered (it comes again and changes nothing), or
not booked. Entries of the credit ledger are unique by request and kind: the database says so.
"""

import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, NamedTuple

from contracts.errors import TAXONOMY, Charge
from contracts.events import GenerationCompleted, GenerationFailed, GenerationRequested

PRICE = 1
"""Credits that a request costs: once it is captured, or while it is reserved and not released."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    user_id TEXT PRIMARY KEY,
    granted INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS requests (
    request_id TEXT PRIMARY KEY,
    correlation_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('requested', 'completed', 'failed')),
    prompt TEXT,
    user_id TEXT,
    image_url TEXT,
    hash_value TEXT,
    format TEXT,
    size INTEGER,
    width INTEGER,
    height INTEGER,
    error_code TEXT,
    error_message TEXT,
    user_message TEXT,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS ledger (
    id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL REFERENCES requests,
    kind TEXT NOT NULL CHECK (kind IN ('reserve', 'capture', 'release')),
    at REAL NOT NULL,
    UNIQUE (request_id, kind)
);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    request_id TEXT,
    channel TEXT NOT NULL,
    webhook_id TEXT,
    correlation_id TEXT,
    traceparent TEXT,
    status TEXT,
    effect TEXT NOT NULL,
    body TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_by_request ON deliveries (request_id);
CREATE INDEX IF NOT EXISTS requests_by_user ON requests (user_id);
"""

_SPENT = """
SELECT count(*) FROM requests r WHERE r.user_id = ? AND (
    EXISTS (SELECT 1 FROM ledger WHERE request_id = r.request_id AND kind = 'capture')
    OR EXISTS (SELECT 1 FROM ledger WHERE request_id = r.request_id AND kind = 'reserve')
    AND NOT EXISTS (SELECT 1 FROM ledger WHERE request_id = r.request_id AND kind = 'release')
)"""

UserErrors = Literal["release", "capture"]
Outcome = GenerationCompleted | GenerationFailed


class OverdrawnError(Exception):
    """The user's credits do not suffice for one more request."""

    def __init__(self, account: "Account") -> None:
        super().__init__(f"a request costs {PRICE}, and {account.balance} is left")
        self.account = account


class Account(NamedTuple):
    """A user's credits. A request that failed, was released and completed later may overdraw it."""

    granted: int
    balance: int


class Envelope(NamedTuple):
    """How an event came: `channel` is `callback` or `odoorpc`, the rest its headers."""

    channel: str
    webhook_id: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    body: str | None = None


def cost_of(kinds: Collection[str]) -> int:
    """What a request costs its user, from the kinds of its entries."""
    standing = "reserve" in kinds and "release" not in kinds
    return PRICE if "capture" in kinds or standing else 0


class Ledger:
    """The file in the state folder; `user_errors` is the platform's policy for a user's error.

    A new user is granted `credits`.
    """

    def __init__(
        self, state: Path, user_errors: UserErrors = "release", credits_granted: int = 1_000
    ) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.on_change: Callable[[str], None] = lambda _request_id: None
        """Called with each request that has ended, inside the transaction."""
        self._user_errors = user_errors
        self._granted = credits_granted
        self.database = sqlite3.connect(state / "odoo.sqlite", isolation_level=None)
        self.database.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            self.database.execute(f"PRAGMA {pragma}")
        self.database.executescript(_SCHEMA)

    def submit(self, event: GenerationRequested) -> bool:
        """EVT-AIG-001: the record and its reservation; False when it was there already.

        Raises OverdrawnError, and then nothing is written. Submissions take turns: the balance that
        is looked at is the one that is reserved from.
        """
        with self.transaction():
            return self.reserve(event)

    def reserve(self, event: GenerationRequested) -> bool:
        """As `submit`, inside the caller's transaction."""
        now, user_id = time.time(), str(event.user_id)
        made = self.database.execute(
            "INSERT OR IGNORE INTO requests (request_id, correlation_id, state, prompt,"
            " user_id, created_at, updated_at) VALUES (?, ?, 'requested', ?, ?, ?, ?)",
            (
                *(str(event.request_id), str(event.correlation_id), event.prompt),
                *(user_id, now, now),
            ),
        )
        if made.rowcount:
            account = self.account(user_id)
            if account.balance < PRICE:
                raise OverdrawnError(account)
            self.database.execute(
                "INSERT OR IGNORE INTO users VALUES (?, ?)", (user_id, self._granted)
            )
            self._book(str(event.request_id), "reserve", now)
        return bool(made.rowcount)

    def account(self, user_id: str) -> Account:
        """A user's credits; one who never asked has what new users are granted."""
        row = self.database.execute(
            "SELECT granted FROM users WHERE user_id = ?", (user_id,)
        ).fetchone()
        granted = row["granted"] if row else self._granted
        (spent,) = self.database.execute(_SPENT, (user_id,)).fetchone()
        return Account(granted, granted - PRICE * spent)

    def apply(self, event: Outcome, envelope: Envelope) -> str:
        """Books an outcome; returns its effect: `applied`, or `repeated` when nothing changed.

        `completed` may follow `failed`; another failure may not, for it may be the older one.
        Nothing follows `completed`. An unknown request is made, for a sandbox has no other way to
        learn of it.
        """
        request_id, now = str(event.request_id), time.time()
        with self.transaction():
            self.database.execute(
                "INSERT OR IGNORE INTO requests (request_id, correlation_id, state, created_at,"
                " updated_at) VALUES (?, ?, 'requested', ?, ?)",
                (request_id, str(event.correlation_id), now, now),
            )
            if isinstance(event, GenerationCompleted):
                changed = self._complete(request_id, event, now)
            else:
                changed = self._fail(request_id, event, now)
            effect = "applied" if changed else "repeated"
            if changed:
                self.on_change(request_id)
            self._record(envelope, effect, now, request_id, event.status)
        return effect

    def refuse(self, envelope: Envelope, reason: str) -> None:
        """Writes down a delivery that was not taken, and why."""
        self._record(envelope, reason, time.time(), None, None)

    def request(self, request_id: str) -> dict[str, Any] | None:
        """The record with its ledger entries, what it costs its user, and its deliveries."""
        row = self.database.execute(
            "SELECT * FROM requests WHERE request_id = ?", (request_id,)
        ).fetchone()
        if row is None:
            return None
        entries = self._entries(request_id)
        cost = cost_of([entry["kind"] for entry in entries])
        deliveries = self.deliveries(request_id)
        return dict(row) | {"ledger": entries, "cost": cost, "deliveries": deliveries}

    def cost(self, request_id: str) -> int:
        """What a request costs its user now."""
        return cost_of([entry["kind"] for entry in self._entries(request_id)])

    def _entries(self, request_id: str) -> list[dict[str, Any]]:
        rows = self.database.execute(
            "SELECT kind, at FROM ledger WHERE request_id = ? ORDER BY id", (request_id,)
        )
        return [dict(row) for row in rows]

    def requests(self, limit: int = 100) -> list[dict[str, Any]]:
        """The latest requests with the kinds of their ledger entries."""
        rows = self.database.execute(
            "SELECT r.*, (SELECT group_concat(kind, ', ') FROM (SELECT kind FROM ledger l"
            " WHERE l.request_id = r.request_id ORDER BY l.id)) AS entries,"
            " (SELECT count(*) FROM deliveries d WHERE d.request_id = r.request_id) AS delivered"
            " FROM requests r ORDER BY r.created_at DESC LIMIT ?",
            (limit,),
        )
        return [dict(row) for row in rows]

    def deliveries(self, request_id: str | None = None, after: int = 0) -> list[dict[str, Any]]:
        """What came in after delivery number `after`, repeats and refused ones too, in order.

        One that met a fault was not read: it is known by its webhook-id alone.
        """
        rows = self.database.execute(
            "SELECT * FROM deliveries WHERE id > ?"
            " AND (? IS NULL OR request_id = ? OR webhook_id LIKE ? || '.%') ORDER BY id",
            (after, request_id, request_id, request_id),
        )
        return [dict(row) for row in rows]

    def _complete(self, request_id: str, event: GenerationCompleted, now: float) -> bool:
        image = event.image_metadata
        changed = self.database.execute(
            "UPDATE requests SET state = 'completed', image_url = ?, hash_value = ?, format = ?,"
            " size = ?, width = ?, height = ?, error_code = NULL, error_message = NULL,"
            " user_message = NULL, updated_at = ? WHERE request_id = ? AND state <> 'completed'",
            (
                *(event.image_url, event.hash_value, image.format, image.size, image.width),
                *(image.height, now, request_id),
            ),
        )
        if changed.rowcount:
            self._book(request_id, "capture", now)
        return bool(changed.rowcount)

    def _fail(self, request_id: str, event: GenerationFailed, now: float) -> bool:
        changed = self.database.execute(
            "UPDATE requests SET state = 'failed', error_code = ?, error_message = ?,"
            " user_message = ?, updated_at = ? WHERE request_id = ? AND state = 'requested'",
            (event.error_code, event.error_message, event.user_message, now, request_id),
        )
        if changed.rowcount:
            self._book(request_id, self._kind(event), now)
        return bool(changed.rowcount)

    def _kind(self, event: GenerationFailed) -> str:
        """What a failure books: an unknown code is not the user's fault, and is not charged."""
        by_code = {code.value: rule for code, rule in TAXONOMY.items()}
        rule = by_code.get(event.error_code or "")
        charge = rule.charge if rule else Charge.RELEASE
        if charge is Charge.IF_PAID:
            # Who canceled is not known here: to the sandbox it was always the user.
            return "capture" if event.may_have_been_paid else "release"
        return self._user_errors if charge is Charge.POLICY else "release"

    def _book(self, request_id: str, kind: str, now: float) -> None:
        self.database.execute(
            "INSERT OR IGNORE INTO ledger (request_id, kind, at) VALUES (?, ?, ?)",
            (request_id, kind, now),
        )

    def _record(
        self,
        envelope: Envelope,
        effect: str,
        now: float,
        request_id: str | None,
        status: str | None,
    ) -> None:
        self.database.execute(
            "INSERT INTO deliveries (at, request_id, channel, webhook_id, correlation_id,"
            " traceparent, body, status, effect) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (now, request_id, *envelope, status, effect),
        )

    def transaction(self) -> sqlite3.Connection:
        """One transaction: as a context manager it commits, or rolls back on an exception."""
        self.database.execute("BEGIN IMMEDIATE")
        return self.database
