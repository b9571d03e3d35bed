"""What really happened in one row, read from records that nothing in the row kills for long.

The sandboxes' SQLite files hold every paid call, delivery, credit entry and notification, committed
before it was answered; the bucket holds the images; Temporal knows what is closed. Read with plain
SQL, not through the code that wrote them.
"""

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from activities.s3 import CHECK_PREFIX
from deploy.local.stack.config import BUCKET
from deploy.local.stack.local_stack import LocalStack


class Asked(NamedTuple):
    """One accepted request. Times in seconds since 1970, `began` when its first start was sent.

    `created`: how many of its starts were answered that they made the workflow.
    """

    request_id: str
    correlation_id: str
    user_id: str
    two_routes: bool
    began: float
    created: int = 1


class Delivery(NamedTuple):
    """One delivery as Odoo wrote it down; `effect` is `applied` when it changed anything."""

    at: float
    status: str | None
    effect: str


class Record(NamedTuple):
    """A request as it stands in Odoo: state, and the kinds of its credit entries in order."""

    state: str
    error_code: str | None = None
    hash_value: str | None = None
    entries: tuple[str, ...] = ()


@dataclass
class Evidence:
    """All of it. Keys are request ids where nothing else is said."""

    asked: list[Asked] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)
    """Temporal's status of every generation: COMPLETED, FAILED, RUNNING…"""
    paid: Counter[str] = field(default_factory=Counter)
    """Paid calls by correlation id."""
    calls: Counter[str] = field(default_factory=Counter)
    """Calls of the image service by what became of them."""
    records: dict[str, Record] = field(default_factory=dict)
    deliveries: dict[str, list[Delivery]] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    """What each user has paid, as Odoo's own account says."""
    notified: Counter[str] = field(default_factory=Counter)
    """Notifications that the service took for new."""
    notified_again: int = 0
    """Notifications that it knew for repeats."""
    images: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the bytes in the store, by request id."""
    parked: set[str] = field(default_factory=set)
    """Those that were seen parked at least once."""
    alerts: set[str] = field(default_factory=set)
    """Names of alerts that were raised."""
    fault_ended: float | None = None


def read_sandboxes(home: Path) -> Evidence:
    """What is in the sandboxes' records; the rest of the evidence is for the caller to add."""
    found = Evidence()
    for row in _rows(
        home / "images/images.sqlite", "SELECT correlation_id, outcome, paid FROM calls"
    ):
        found.calls[row["outcome"]] += 1
        if row["paid"]:
            found.paid[row["correlation_id"] or "nobody's"] += 1
    odoo = home / "odoo/odoo.sqlite"
    entries: defaultdict[str, list[str]] = defaultdict(list)
    for row in _rows(odoo, "SELECT request_id, kind FROM ledger ORDER BY id"):
        entries[row["request_id"]].append(row["kind"])
    for row in _rows(odoo, "SELECT request_id, state, error_code, hash_value FROM requests"):
        kinds = tuple(entries[row["request_id"]])
        found.records[row["request_id"]] = Record(
            row["state"], row["error_code"], row["hash_value"], entries=kinds
        )
    deliveries: defaultdict[str, list[Delivery]] = defaultdict(list)
    for row in _rows(odoo, "SELECT request_id, at, status, effect FROM deliveries ORDER BY id"):
        deliveries[row["request_id"] or ""].append(Delivery(*row[1:]))
    found.deliveries = dict(deliveries)
    notifications = home / "notifications/notifications.sqlite"
    for row in _rows(notifications, "SELECT request_id, effect FROM notifications"):
        if row["effect"] == "new":
            found.notified[row["request_id"]] += 1
        found.notified_again += row["effect"] == "repeated"
    names = "SELECT DISTINCT json_extract(labels, '$.alertname') AS name FROM alerts"
    found.alerts = {row["name"] for row in _rows(notifications, names)}
    return found


def images_in(stack: LocalStack) -> dict[str, str]:
    """SHA-256 of every image in the store, of the bytes themselves, by request id."""
    s3: Any = boto3.client(
        "s3",
        endpoint_url=stack.s3_url,
        region_name="us-east-1",
        aws_access_key_id=stack.secrets.s3_access_key,
        aws_secret_access_key=stack.secrets.s3_secret_key,
    )
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="generations/"):
        for item in page.get("Contents", ()):
            if item["Key"].startswith(CHECK_PREFIX):
                continue  # of a worker that was killed while it looked what the store can
            body = s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            found[Path(item["Key"]).stem] = hashlib.sha256(body).hexdigest()
    return found


def _rows(file: Path, query: str) -> Iterator[sqlite3.Row]:
    with closing(sqlite3.connect(file)) as db:
        db.row_factory = sqlite3.Row
        yield from db.execute(query)
