"""`duragen.api` of the sandbox Odoo: API users, their keys, limits, prices and jobs.

Answers as the addon does (`deploy/odoo/duragen/models/api.py`): {"ok": True, …}, or {"ok": False,
"error", "httpStatus", "message", "retryAfter"}. A job is charged and written in one transaction;
`starting.py` has it started afterwards.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.events import GenerationRequested
from deploy.local.sandbox.odoo.failures import faults_of
from deploy.local.sandbox.odoo.ledger import PRICE, Ledger, OverdrawnError
from deploy.local.sandbox.odoo.refusals import NO_PAGE, RefusedError, iso
from deploy.local.sandbox.odoo.webhooks import Webhooks

REFERENCE_SECONDS = 24 * 3_600
PERIODS = {"minute": 60, "day": 86_400}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS api_keys (
    sha256 TEXT PRIMARY KEY,
    user_id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE REFERENCES requests,
    user_id TEXT NOT NULL,
    reference TEXT,
    digest TEXT NOT NULL,
    event TEXT NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    cancel_at REAL,
    UNIQUE (user_id, reference)
);
CREATE INDEX IF NOT EXISTS jobs_to_start ON jobs (number) WHERE started_at IS NULL;
CREATE INDEX IF NOT EXISTS jobs_of_user ON jobs (user_id, created_at);
"""
_JOB = "SELECT r.*, j.* FROM jobs j JOIN requests r ON r.request_id = j.job_id"
_OPEN = "r.state = 'requested'"
_STATUS = {
    "pending": f"{_OPEN} AND j.started_at IS NULL",
    "processing": f"{_OPEN} AND j.started_at IS NOT NULL",
    "completed": "r.state = 'completed'",
    "failed": "r.state = 'failed' AND r.error_code IS NOT 'CANCELED'",
    "canceled": "r.state = 'failed' AND r.error_code = 'CANCELED'",
}


class Limits(BaseModel):
    """How many jobs an API user may submit in a minute, and in a day."""

    model_config = ConfigDict(extra="forbid")

    minute: int = Field(default=1_000_000, ge=0)
    day: int = Field(default=1_000_000, ge=0)


class Jobs:
    """Over the ledger's database; `callback_url` is where outcomes are to come."""

    def __init__(self, ledger: Ledger, callback_url: str) -> None:
        self.limits = Limits()
        self.fresh: list[str] = []
        """Submitted or canceled, and not passed on yet; whoever answers the call empties it."""
        self._ledger = ledger
        self._callback_url = callback_url
        self._db: sqlite3.Connection = ledger.database
        self._db.executescript(_SCHEMA)
        self.webhooks = Webhooks(self._db, self._view)
        ledger.on_change = self._changed
        self._methods: dict[str, Callable[..., dict[str, Any]]] = {
            "authenticate": self._authenticate,
            "check": self._check,
            "estimate": self._estimate,
            "submit": self._submit,
            "status": self._status_of,
            "list_requests": self._list,
            "cancel": self._cancel,
            **self.webhooks.methods,
        }

    def add_key(self, key: str, user_id: UUID | None = None) -> UUID:
        """Let a key in, for this user or a new one; the user's id."""
        user = user_id or uuid4()
        self._db.execute("INSERT OR REPLACE INTO api_keys VALUES (?, ?)", (_hash(key), str(user)))
        return user

    def drop_key(self, key: str) -> None:
        """Let it in no more."""
        self._db.execute("DELETE FROM api_keys WHERE sha256 = ?", (_hash(key),))

    def answer(self, method: str, given: list[Any]) -> dict[str, Any]:
        """What a method of `duragen.api` answers. Raises LookupError for one that is not there."""
        work = self._methods[method]
        try:
            user = self._user(given[0] if given else None)
            return {"ok": True, **work(user, *given[1:])}
        except RefusedError as refusal:
            return refusal.answer

    def to_pass_on(self) -> list[str]:
        """Jobs that wait for their start, or for the word that they are canceled."""
        rows = self._db.execute(
            f"SELECT j.job_id FROM jobs j JOIN requests r ON r.request_id = j.job_id WHERE {_OPEN}"  # noqa: S608  # fixed texts
            " AND (j.started_at IS NULL OR j.cancel_requested = 1) ORDER BY j.number LIMIT 200"
        )
        return [row["job_id"] for row in rows]

    def job(self, job_id: str) -> dict[str, Any] | None:
        """A job with its request's columns."""
        row = self._db.execute(f"{_JOB} WHERE j.job_id = ?", (job_id,)).fetchone()
        return dict(row) if row else None

    def started(self, job_id: str) -> None:
        """Duragen has it."""
        with self._ledger.transaction():
            changed = self._db.execute(
                "UPDATE jobs SET started_at = ? WHERE job_id = ? AND started_at IS NULL",
                (time.time(), job_id),
            )
            job = self.job(job_id)
            if changed.rowcount and job and job["state"] == "requested":
                self.webhooks.emit("generation.started", job["user_id"], job_id)

    def _changed(self, request_id: str) -> None:
        """A request has ended, in this very transaction."""
        if job := self.job(request_id):
            self.webhooks.emit(f"generation.{_status(job)}", job["user_id"], request_id)

    def cancel_passed_on(self, job_id: str) -> None:
        """Duragen knows that it is to be canceled; its outcome says what came of that."""
        self._db.execute("UPDATE jobs SET cancel_requested = 2 WHERE job_id = ?", (job_id,))

    def _user(self, key: Any) -> str:
        row = self._db.execute(
            "SELECT user_id FROM api_keys WHERE sha256 = ?", (_hash(str(key)),)
        ).fetchone()
        if row is None:
            raise RefusedError("INVALID_API_KEY", 401, "The API key is not valid.")
        return str(row["user_id"])

    def _authenticate(self, user: str) -> dict[str, Any]:
        return {"userId": user, "login": user, "companyId": 1}

    def _check(self, user: str) -> dict[str, Any]:
        self._refuse_beyond_limits(user)
        limits = self._standing(user)
        return {"balance": self._ledger.account(user).balance, "quotas": [], "limits": limits}

    def _estimate(self, user: str, params: Any) -> dict[str, Any]:
        self._event(user, params)
        balance = self._ledger.account(user).balance
        return {
            "price": PRICE,
            "balance": balance,
            "balanceAfter": balance - PRICE,
            "limits": self._standing(user),
        }

    def _submit(
        self,
        user: str,
        params: Any,
        reference: Any = None,
        cancel_after: Any = None,
        correlation_id: Any = None,
    ) -> dict[str, Any]:
        now = time.time()
        cancel_at = now + cancel_after if cancel_after else None
        event = self._event(user, params, cancel_at, correlation_id)
        digest = _hash(json.dumps(params, sort_keys=True))
        with self._ledger.transaction():
            found = self._referenced(user, reference, now) if reference else None
            if found and found["digest"] != digest:
                said = (
                    "This reference (Idempotency-Key) belongs to a request with other parameters."
                )
                raise RefusedError("CONFLICT", 409, said)
            if not found:
                self._refuse_beyond_limits(user)
                self._charge(event)
                self._db.execute(
                    "INSERT INTO jobs (job_id, user_id, reference, digest, event, created_at,"
                    " cancel_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(str(event.request_id), user, reference or None, digest),
                        *(event.model_dump_json(exclude_none=True), now, cancel_at),
                    ),
                )
                self.fresh.append(str(event.request_id))
        job_id = found["job_id"] if found else str(event.request_id)
        return {
            **self._view(job_id),
            "balance": self._ledger.account(user).balance,
            "limits": self._standing(user),
            "replayed": bool(found),
        }

    def _charge(self, event: GenerationRequested) -> None:
        try:
            self._ledger.reserve(event)
        except OverdrawnError as error:
            raise RefusedError("INSUFFICIENT_CREDITS", 402, str(error)) from None

    def _referenced(self, user: str, reference: str, now: float) -> sqlite3.Row | None:
        self._db.execute(
            "UPDATE jobs SET reference = NULL WHERE user_id = ? AND reference = ?"
            " AND created_at < ?",
            (user, reference, now - REFERENCE_SECONDS),
        )
        found: sqlite3.Row | None = self._db.execute(
            "SELECT job_id, digest FROM jobs WHERE user_id = ? AND reference = ?", (user, reference)
        ).fetchone()
        return found

    def _status_of(self, user: str, job_id: Any) -> dict[str, Any]:
        return self._view(self._own(user, job_id))

    def _cancel(self, user: str, job_id: Any) -> dict[str, Any]:
        own = self._own(user, job_id)
        changed = self._db.execute(
            "UPDATE jobs SET cancel_requested = 1 WHERE job_id = ? AND cancel_requested = 0"
            " AND (SELECT state FROM requests WHERE request_id = job_id) = 'requested'",
            (own,),
        )
        if changed.rowcount:
            self.fresh.append(own)
        return self._view(own)

    def _list(self, user: str, filters: dict[str, Any] | None = None) -> dict[str, Any]:
        wanted, values = ["j.user_id = ?"], list[Any]([user])
        given = filters or {}
        if status := given.get("status"):
            wanted.append(_STATUS[status])
        if since := given.get("since"):
            wanted.append("j.created_at >= ?")
            values.append(datetime.fromisoformat(since).timestamp())
        if model_id := given.get("modelId"):
            wanted.append("json_extract(j.event, '$.modelId') = ?")
            values.append(model_id)
        if after := given.get("after"):
            last = self.job(str(after).lower())
            if not last or last["user_id"] != user:
                raise RefusedError("INVALID_INPUT", 422, NO_PAGE)
            wanted.append("j.number < ?")
            values.append(last["number"])
        limit = int(given.get("limit", 20))
        rows = self._db.execute(
            f"{_JOB} WHERE {' AND '.join(wanted)} ORDER BY j.number DESC LIMIT ?",
            (*values, limit + 1),
        ).fetchall()
        shown = [row["job_id"] for row in rows[:limit]]
        last = shown[-1] if len(rows) > limit else None
        return {"jobs": [self._view(job_id) for job_id in shown], "next": last}

    def _own(self, user: str, job_id: Any) -> str:
        found = self.job(str(job_id).lower())
        if found is None or found["user_id"] != user:
            raise RefusedError("NOT_FOUND", 404, "There is no such request.")
        return str(found["job_id"])

    def _event(
        self, user: str, params: Any, cancel_at: float | None = None, correlation_id: Any = None
    ) -> GenerationRequested:
        given = dict(params) if isinstance(params, dict) else {}
        size = str(given.get("resolution") or "1024x1024")
        across, _, down = size.partition("x")
        correlation_id = correlation_id or str(uuid4())
        ids = {"requestId": str(uuid4()), "correlationId": correlation_id, "userId": user}
        more = {"cancelAt": iso(cancel_at)} if cancel_at else {}
        try:
            return GenerationRequested.model_validate(
                {
                    **{name: value for name, value in given.items() if value is not None},
                    "resolution": size,
                    "aspectRatio": f"{across}:{down}",
                    **ids,
                    "callbackUrl": self._callback_url,
                    **more,
                }
            )
        except ValidationError as error:
            raise RefusedError("INVALID_INPUT", 422, faults_of(error)) from None

    def _standing(self, user: str) -> list[dict[str, Any]]:
        """What is left of each limit; a period ends when its oldest job is so old."""
        found, now = [], time.time()
        for name, seconds in PERIODS.items():
            used, oldest = self._db.execute(
                "SELECT count(*), min(created_at) FROM jobs WHERE user_id = ? AND created_at > ?",
                (user, now - seconds),
            ).fetchone()
            limit = getattr(self.limits, name)
            reset = int(seconds - (now - (oldest or now))) + 1
            left = {"limit": limit, "remaining": max(limit - used, 0), "reset": reset}
            found.append({"name": name, **left})
        return found

    def _refuse_beyond_limits(self, user: str) -> None:
        for each in self._standing(user):
            if not each["remaining"]:
                text = f"At most {each['limit']} requests a {each['name']}."
                more = {"retryAfter": each["reset"], "limit": each["limit"]}
                raise RefusedError("LIMIT_REACHED", 429, text, **more)

    def _view(self, job_id: str) -> dict[str, Any]:
        job = self.job(job_id)
        if job is None:
            raise LookupError(job_id)
        event = json.loads(job["event"])
        ended = job["state"] != "requested"
        return {
            "jobId": job_id,
            "correlationId": job["correlation_id"],
            "status": _status(job),
            "prompt": event["prompt"],
            "modelId": event["modelId"],
            "resolution": event["resolution"],
            "price": PRICE,
            "charged": bool(self._ledger.cost(job_id)),
            "cancelRequested": bool(job["cancel_requested"]),
            "imageUrl": job["image_url"],
            "error": {
                "code": job["error_code"],
                "message": job["user_message"] or "",
                "retrySuggestion": False,
            }
            if job["error_code"]
            else None,
            "createdAt": iso(job["created_at"]),
            "cancelAt": iso(job["cancel_at"]) if job["cancel_at"] else None,
            "endedAt": iso(job["updated_at"]) if ended else None,
        }


def user_of(name: str) -> UUID:
    """The id of an API user who is known by a name."""
    return uuid5(NAMESPACE_URL, f"sandbox/{name}")


def _status(job: dict[str, Any]) -> str:
    if job["state"] == "requested":
        return "processing" if job["started_at"] else "pending"
    canceled = job["state"] == "failed" and job["error_code"] == "CANCELED"
    return "canceled" if canceled else str(job["state"])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
