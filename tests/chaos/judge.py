"""From evidence to the figures of a row, and from figures to what is wrong with it."""

import statistics
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from contracts.alerts import AlertName
from contracts.errors import TAXONOMY, Charge
from tests.chaos.evidence import Asked, Evidence, Record

_OPEN = {"RUNNING", "UNSPECIFIED"}
_THEIRS = {code.value for code, rule in TAXONOMY.items() if rule.charge is not Charge.RELEASE}
_NOTHING = Record("unknown")


class Figures(NamedTuple):
    """One row of the table, seconds and counts; docs/reliability.md says what each one means."""

    submitted: int
    ended: int
    completed: int
    failed: int
    lost: int
    paid_beyond_first: int
    charged_twice: int
    charged_for_our_fault: int
    images_orphaned: int
    notified_twice: int
    parked: int
    redelivered: int
    end_to_end_p95: float | None
    recovery_p95: float | None
    # Not in the table, but judged or kept.
    most_paid: int
    """Most paid calls beyond the first of one generation with one route."""
    most_paid_two_routes: int
    unpaid: int
    """Completed ones that cost their user nothing."""
    accounts_off: int
    """Users whose account says something else than their completed generations."""
    started_twice: int
    repeated: int
    """Deliveries that came again, and changed nothing."""
    notified_again: int
    """Notifications that came again, and were known for repeats."""
    not_notified: int
    codes: dict[str, int]
    """Failed ones by error code."""
    alerts: tuple[str, ...]


class Expectation(NamedTuple):
    """What a row must show: the least share of completed ones, and an alert if one must be raised.

    The others bound one generation's paid calls beyond the first, by how many routes it has.
    """

    completed: float = 1.0
    beyond_first: int = 0
    beyond_first_two_routes: int = 0
    alert: AlertName | None = None


def figures(evidence: Evidence) -> Figures:
    """Everything that is counted; nothing is decided here."""
    records = {
        each.request_id: evidence.records.get(each.request_id, _NOTHING) for each in evidence.asked
    }
    lost = {each.request_id for each in evidence.asked if _lost(evidence, each.request_id)}
    completed = {key for key, record in records.items() if record.state == "completed"}
    failed = {key for key, record in records.items() if record.state == "failed"}
    beyond = {each: max(0, evidence.paid[each.correlation_id] - 1) for each in evidence.asked}
    took = {each: _applied_at(evidence, each.request_id) for each in evidence.asked}
    return Figures(
        submitted=len(records),
        ended=len(records) - len(lost),
        completed=len(completed),
        failed=len(failed),
        lost=len(lost),
        paid_beyond_first=sum(beyond.values()),
        charged_twice=sum(_charged_twice(evidence, key) for key in records),
        charged_for_our_fault=sum(
            charges(record.entries) > 0 and _our_fault(evidence, key)
            for key, record in records.items()
        ),
        images_orphaned=sum(_orphaned(evidence, key) for key in evidence.images),
        notified_twice=sum(count > 1 for count in evidence.notified.values()),
        parked=len(evidence.parked),
        redelivered=sum(_applied_at(evidence, key) is not None for key in evidence.parked),
        end_to_end_p95=_p95(at - each.began for each, at in took.items() if at),
        recovery_p95=_recovery(evidence.fault_ended, took),
        most_paid=max((n for each, n in beyond.items() if not each.two_routes), default=0),
        most_paid_two_routes=max((n for each, n in beyond.items() if each.two_routes), default=0),
        unpaid=sum(charges(records[key].entries) == 0 for key in completed),
        accounts_off=_accounts_off(evidence, completed),
        started_twice=sum(each.created > 1 for each in evidence.asked),
        repeated=sum(
            delivery.effect == "repeated"
            for each in evidence.deliveries.values()
            for delivery in each
        ),
        notified_again=evidence.notified_again,
        not_notified=sum(evidence.notified[key] == 0 for key in records),
        codes=dict(Counter(records[key].error_code or "none" for key in sorted(failed))),
        alerts=tuple(sorted(evidence.alerts)),
    )


def verdict(row: Figures, expected: Expectation) -> list[str]:
    """What is wrong, in words; nothing when the row holds."""
    wrong = [
        f"{count} {what}"
        for count, what in (
            (row.lost, "lost"),
            (row.charged_twice, "charged twice"),
            (row.charged_for_our_fault, "charged for our fault"),
            (row.notified_twice, "notified twice"),
            (row.unpaid, "completed and not charged at all"),
            (row.accounts_off, "users whose balance is wrong"),
            (row.started_twice, "started twice"),
            (row.parked - row.redelivered, "parked and never delivered"),
        )
        if count
    ]
    if row.submitted == 0:
        wrong.append("nothing was submitted")
    elif row.completed < expected.completed * row.submitted:
        share = row.completed / row.submitted
        wrong.append(f"only {share:.1%} completed, at least {expected.completed:.0%} must")
    if expected.alert and expected.alert not in row.alerts:
        wrong.append(f"{expected.alert} was never raised")
    for most, bound, what in (
        (row.most_paid, expected.beyond_first, "one route"),
        (row.most_paid_two_routes, expected.beyond_first_two_routes, "two routes"),
    ):
        if most > bound:
            wrong.append(f"{most} paid calls beyond the first with {what}, at most {bound} may")
    return wrong


def charges(entries: Iterable[str]) -> int:
    """How often these entries charge: each capture, and each reservation that nothing ended."""
    kinds = Counter(entries)
    standing = kinds["reserve"] - kinds["capture"] - kinds["release"]
    return kinds["capture"] + max(0, standing)


def _lost(evidence: Evidence, request_id: str) -> bool:
    """Not closed, or Odoo does not know how it ended, or Odoo's image is not in the store."""
    record = evidence.records.get(request_id, _NOTHING)
    if evidence.closed.get(request_id, "UNSPECIFIED") in _OPEN:
        return True
    if record.state == "completed":
        return evidence.images.get(request_id) != record.hash_value
    return record.state != "failed"


def _charged_twice(evidence: Evidence, request_id: str) -> bool:
    taken = [
        delivery
        for delivery in evidence.deliveries.get(request_id, ())
        if (delivery.status, delivery.effect) == ("completed", "applied")
    ]
    return charges(evidence.records.get(request_id, _NOTHING).entries) > 1 or len(taken) > 1


def _our_fault(evidence: Evidence, request_id: str) -> bool:
    record = evidence.records.get(request_id, _NOTHING)
    if record.state == "completed":
        return False
    failed_in_odoo = record.state == "failed" and record.error_code not in _THEIRS
    return failed_in_odoo or evidence.closed.get(request_id) == "FAILED"


def _orphaned(evidence: Evidence, request_id: str) -> bool:
    record = evidence.records.get(request_id, _NOTHING)
    return record.state != "completed" or record.hash_value != evidence.images[request_id]


def _accounts_off(evidence: Evidence, completed: set[str]) -> int:
    due = Counter(each.user_id for each in evidence.asked if each.request_id in completed)
    return sum(spent != due[user_id] for user_id, spent in evidence.spent.items())


def _applied_at(evidence: Evidence, request_id: str) -> float | None:
    """When Odoo booked the outcome that it has now."""
    taken = [
        delivery.at
        for delivery in evidence.deliveries.get(request_id, ())
        if delivery.effect == "applied"
    ]
    return max(taken, default=None)


def _recovery(fault_ended: float | None, took: dict[Asked, float | None]) -> float | None:
    if fault_ended is None:
        return None
    return _p95(
        at - fault_ended
        for each, at in took.items()
        if at and each.began < fault_ended and at > fault_ended
    )


def _p95(seconds: Iterable[float]) -> float | None:
    values = list(seconds)
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[94]
