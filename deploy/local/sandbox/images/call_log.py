"""What really happened at the sandbox image service: every call and every job, in SQLite.

Committed before the answer leaves, so that `kill -9` at any moment loses neither a job nor the
knowledge that it was paid for. WAL with synchronous=NORMAL: safe against the death of the process,
which is what is tested here; a power cut may cost the last moments.
"""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    protocol TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT,
    request TEXT,
    correlation_id TEXT,
    traceparent TEXT,
    outcome TEXT NOT NULL,
    paid INTEGER NOT NULL,
    job_id TEXT
);
CREATE INDEX IF NOT EXISTS calls_by_correlation ON calls (correlation_id);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    seed INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    ready_at REAL NOT NULL,
    fault TEXT
);
"""


class Call(NamedTuple):
    """One call as it came in. `request` is the body as the client sent it."""

    protocol: str
    operation: str
    model: str | None = None
    request: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    job_id: str | None = None


class Job(NamedTuple):
    """A FLUX task. Times in seconds since 1970; `fault` is the kind that it was accepted with."""

    id: str
    model: str
    prompt: str
    seed: int
    width: int
    height: int
    format: str
    accepted_at: float
    ready_at: float
    fault: str | None


class CallLog:
    """The file in the state folder; one per process, used from the event loop's thread."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(state / "images.sqlite", isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def record(self, call: Call, outcome: str, *, paid: bool = False) -> int:
        """Writes a call down; the result is its number, for `amend`."""
        row = self._db.execute(
            "INSERT INTO calls (at, protocol, operation, model, request, correlation_id,"
            " traceparent, job_id, outcome, paid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (time.time(), *call, outcome, paid),
        )
        return row.lastrowid or 0

    def accept(self, call: Call, job: Job, outcome: str) -> None:
        """Writes a paid submission and its job in one transaction."""
        with self._transaction():
            self._db.execute(f"INSERT INTO jobs VALUES ({','.join('?' * len(job))})", job)  # noqa: S608  # question marks
            self.record(call._replace(job_id=job.id), outcome, paid=True)

    def job(self, job_id: str) -> Job | None:
        """The job, None when there is none of that id."""
        row = self._db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return Job(*row) if row else None

    def calls(self, correlation_id: str | None, operation: str | None) -> list[dict[str, Any]]:
        """The calls in the order they came, the body parsed where it was JSON."""
        rows = self._db.execute(
            "SELECT * FROM calls WHERE (? IS NULL OR correlation_id = ?)"
            " AND (? IS NULL OR operation = ?) ORDER BY id",
            (correlation_id, correlation_id, operation, operation),
        )
        return [dict(row) | {"request": _parsed(row["request"])} for row in rows]

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db  # as a context manager it commits, or rolls back on an exception


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
