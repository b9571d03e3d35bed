"""The judge of `make chaos` can say no: evidence with each kind of wrong, and its verdict."""

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rich.console import Console

from contracts.alerts import AlertName
from contracts.events import GenerationCompleted, GenerationRequested
from deploy.local.sandbox.images.call_log import Call, CallLog
from deploy.local.sandbox.notifications.records import Notification, NotificationRecords
from deploy.local.sandbox.odoo.ledger import Envelope, Ledger
from tests.chaos.evidence import Asked, Delivery, Evidence, Record, read_sandboxes
from tests.chaos.judge import Expectation, charges, figures, verdict
from tests.chaos.report import BEGIN, COLUMNS, END, as_json, publish
from tests.chaos.rows import ROWS
from tests.chaos.running import Result, Settings, run_rows

MADE = Record("completed", None, "abc", ("reserve", "capture"))
FAILED = Record("failed", "PROVIDER_UNAVAILABLE", None, ("reserve", "release"))


def _good(count: int = 10) -> Evidence:
    """Evidence in which everything went well; request, correlation and user ids are numbers."""
    ids = [str(number) for number in range(count)]
    return Evidence(
        asked=[Asked(each, each, f"user {each}", two_routes=False, began=100.0) for each in ids],
        closed=dict.fromkeys(ids, "COMPLETED"),
        paid=Counter(ids),
        records=dict.fromkeys(ids, MADE),
        deliveries={each: [Delivery(103.0, "completed", "applied")] for each in ids},
        spent={f"user {each}": 1 for each in ids},
        notified=Counter(ids),
        images=dict.fromkeys(ids, "abc"),
    )


def _said(evidence: Evidence, expected: Expectation = ROWS[0].expected) -> str:
    return "; ".join(verdict(figures(evidence), expected))


def _fail(evidence: Evidence, *ids: str, record: Record = FAILED) -> None:
    for each in ids:
        evidence.records[each] = record
        evidence.closed[each] = "FAILED"
        evidence.deliveries[each] = [Delivery(103.0, "failed", "applied")]
        evidence.spent[f"user {each}"] = charges(record.entries)
        evidence.images.pop(each, None)


def test_good_evidence() -> None:
    """The judge finds nothing wrong in good evidence."""
    evidence = _good()
    assert verdict(figures(evidence), ROWS[0].expected) == []
    row = figures(evidence)
    assert (row.submitted, row.ended, row.completed, row.lost) == (10, 10, 10, 0)
    assert row.end_to_end_p95 == 3
    assert row.recovery_p95 is None


@pytest.mark.parametrize(
    "change",
    [
        {"closed": {"3": "RUNNING"}},
        {"records": {"3": Record("requested", entries=("reserve",))}},
        {"images": {"3": "other bytes"}},
    ],
)
def test_lost(change: dict[str, dict[str, Any]]) -> None:
    """Not closed, unknown to Odoo, or without its image: each is lost."""
    evidence = _good()
    for name, values in change.items():
        getattr(evidence, name).update(values)
    assert "1 lost" in _said(evidence)


def test_never_recorded() -> None:
    """A request that was accepted and is nowhere is lost."""
    evidence = _good()
    for records in (evidence.closed, evidence.records, evidence.images, evidence.deliveries):
        del records["3"]
    assert "1 lost" in _said(evidence)


@pytest.mark.parametrize(
    "entries", [("reserve", "capture", "capture"), ("reserve", "reserve", "capture")]
)
def test_charged_twice(entries: tuple[str, ...]) -> None:
    """Two captures, or a capture beside a reservation that still stands."""
    evidence = _good()
    evidence.records["3"] = MADE._replace(entries=entries)
    evidence.spent["user 3"] = 2
    said = _said(evidence)
    assert "1 charged twice" in said
    assert "1 users whose balance is wrong" in said


def test_booked_twice() -> None:
    """Odoo took the same image twice, whatever its entries say."""
    evidence = _good()
    evidence.deliveries["3"] *= 2
    assert _said(evidence) == "1 charged twice"


def test_an_account_that_disagrees() -> None:
    """What the user's account says is compared with what was completed."""
    evidence = _good()
    evidence.spent["user 3"] = 2
    assert _said(evidence) == "1 users whose balance is wrong"


def test_free_of_charge() -> None:
    """A completed generation that costs nothing is wrong, too."""
    evidence = _good()
    evidence.records["3"] = MADE._replace(entries=("reserve", "release"))
    evidence.spent["user 3"] = 0
    assert "1 completed and not charged at all" in _said(evidence)


@pytest.mark.parametrize("entries", [("reserve",), ("reserve", "capture")])
def test_charged_for_our_fault(entries: tuple[str, ...]) -> None:
    """A system error that leaves the reservation standing, or captures it."""
    evidence = _good()
    _fail(evidence, "3", record=FAILED._replace(entries=entries))
    assert "1 charged for our fault" in _said(evidence, Expectation(completed=0.5))


def test_a_users_error_may_cost() -> None:
    """A user's error that is captured by policy is not charged for our fault."""
    evidence = _good()
    _fail(evidence, "3", record=Record("failed", "POLICY_INPUT", None, ("reserve", "capture")))
    evidence.closed["3"] = "COMPLETED"
    assert figures(evidence).charged_for_our_fault == 0


def test_notified_twice() -> None:
    """Two notifications of one request that both were new."""
    evidence = _good()
    evidence.notified["3"] += 1
    assert _said(evidence) == "1 notified twice"


def test_green_because_everything_failed() -> None:
    """No harm was done to anybody, and nothing was made: that does not hold."""
    evidence = _good()
    _fail(evidence, *evidence.records)
    assert _said(evidence, Expectation(completed=0.8)) == ("only 0.0% completed, at least 80% must")


def test_green_because_nothing_was_sent() -> None:
    """Empty evidence proves nothing."""
    assert "nothing was submitted" in _said(Evidence())


def test_paid_beyond_the_first() -> None:
    """What may be paid twice depends on the row."""
    evidence = _good()
    evidence.paid["3"] += 1
    assert _said(evidence) == "1 paid calls beyond the first with one route, at most 0 may"
    assert _said(evidence, Expectation(beyond_first=1)) == ""
    evidence.paid["3"] += 1
    assert "2 paid calls" in _said(evidence, Expectation(beyond_first=1))


def test_no_alert_was_sent() -> None:
    """Where an alert must be raised, its absence is wrong."""
    expected = Expectation(alert=AlertName.DELIVERIES_PARKED)
    evidence = _good()
    assert _said(evidence, expected) == "DuragenDeliveriesParked was never raised"
    evidence.alerts = {"DuragenDeliveriesParked"}
    assert _said(evidence, expected) == ""


def test_orphans_are_counted() -> None:
    """An image of a failed generation, and one of no request."""
    evidence = _good()
    _fail(evidence, "3")
    evidence.images |= {"3": "abc", "unknown": "abc"}
    assert figures(evidence).images_orphaned == 2


def test_parked_for_ever() -> None:
    """What was parked must be delivered in the end."""
    evidence = _good()
    evidence.parked = {"3", "4"}
    assert figures(evidence).redelivered == 2
    del evidence.deliveries["4"]
    assert "1 parked and never delivered" in _said(evidence)


def test_started_twice() -> None:
    """One request, two workflows."""
    evidence = _good()
    evidence.asked[3] = evidence.asked[3]._replace(created=2)
    assert _said(evidence) == "1 started twice"


def test_recovery_is_of_those_under_way() -> None:
    """From the fault's end, of those that had begun before it and ended after it."""
    evidence = _good(3)
    evidence.fault_ended = 105.0
    evidence.deliveries["0"] = [Delivery(125.0, "completed", "applied")]
    evidence.asked[1] = evidence.asked[1]._replace(began=106.0)
    evidence.deliveries["1"] = [Delivery(190.0, "completed", "applied")]
    assert figures(evidence).recovery_p95 == 20


def test_reads_real_records(tmp_path: Path) -> None:
    """What the sandboxes wrote is what the judge is shown."""
    ids = {name: uuid4() for name in ("request_id", "correlation_id", "user_id", "model_id")}
    key, image = str(ids["request_id"]), {"format": "png", "size": 9, "width": 64, "height": 64}
    ledger = Ledger(tmp_path / "odoo")
    event = GenerationRequested(
        **ids,
        prompt="a fox",
        resolution="64x64",
        aspect_ratio="1:1",
        callback_url="http://127.0.0.1/c",
    )
    ledger.submit(event)
    outcome = {
        "requestId": key,
        "correlationId": str(ids["correlation_id"]),
        "status": "completed",
        "imageUrl": "http://127.0.0.1/i",
        "imageMetadata": image,
        "hashValue": "abc",
    }
    for _ in range(2):
        ledger.apply(GenerationCompleted.model_validate(outcome), Envelope("callback"))
    calls = CallLog(tmp_path / "images")
    call = Call("openai", "submit", correlation_id=str(ids["correlation_id"]))
    calls.record(call, "accepted: accept_then_reset", paid=True)
    calls.record(call, "accepted", paid=True)
    notifications = NotificationRecords(tmp_path / "notifications")
    for _ in range(2):
        notifications.notify(Notification("success", key, "u", idempotency_key=f"{key}.x"), "{}")
    found = read_sandboxes(tmp_path)
    assert found.records == {key: MADE}
    assert [each.effect for each in found.deliveries[key]] == ["applied", "repeated"]
    assert found.paid == {str(ids["correlation_id"]): 2}
    assert found.calls == {"accepted: accept_then_reset": 1, "accepted": 1}
    assert found.notified == {key: 1}


async def test_a_row_that_breaks_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the harness itself cannot go on, the row is wrong and not left out."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    (result,) = await run_rows([ROWS[0]], Settings(1, 8, 1, None), Console(quiet=True))
    assert result.row is None
    assert "the row broke" in result.wrong[0]
    assert as_json([result], Settings(1, 8, 1, None), 0)["holds"] is False


def test_the_table_stands_between_the_marks(tmp_path: Path) -> None:
    """The page keeps its prose; the old table goes."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    results = [Result("none", figures(_good()), 0, 1.0, [])]
    publish(results, as_json(results, Settings(10, 8, 1, None), 61), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "0 deliveries and 0 notifications came again" in text
    assert "| none | 0 | 10 | 10 | 10 | 0 | 0 | 0 |" in text
    assert f"| {' | '.join(COLUMNS)} |" in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="lacks"):
        publish(results, as_json(results, Settings(10, 8, 1, None), 61), page)


def test_every_row_asks_for_completed_ones() -> None:
    """No row may be green with nothing made, and each fault shows that it happened."""
    assert all(row.expected.completed >= 0.5 for row in ROWS)
    assert [row.name for row in ROWS if not row.met_needed] == ["none"]
