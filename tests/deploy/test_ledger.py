"""The sandbox Odoo's ledger: who pays, and what a late or repeated event changes: nothing."""

import itertools
import sqlite3
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import TAXONOMY, Charge, ErrorCode
from contracts.events import GenerationCompleted, GenerationFailed, GenerationRequested
from deploy.local.sandbox.odoo.ledger import Account, Envelope, Ledger, OverdrawnError
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack

Json = dict[str, Any]
CALLBACK = Envelope("callback")
USER = uuid4()
RANK = {"requested": 0, "failed": 1, "completed": 2}
CODES = (*ErrorCode, "NO_SUCH_CODE", None)


def _requested(request_id: UUID, user_id: UUID = USER) -> GenerationRequested:
    return GenerationRequested(
        request_id=request_id,
        correlation_id=request_id,
        user_id=user_id,
        prompt="a fox",
        model_id=request_id,
        resolution="64x64",
        aspect_ratio="1:1",
        callback_url="http://127.0.0.1/callback",
    )


def _completed(request_id: UUID) -> GenerationCompleted:
    image = {"format": "png", "size": 1_000, "width": 64, "height": 64}
    return GenerationCompleted.model_validate(
        {
            "requestId": request_id,
            "correlationId": request_id,
            "status": "completed",
            "imageUrl": "http://127.0.0.1/i.png",
            "imageMetadata": image,
            "hashValue": "ab",
        }
    )


def _failed(request_id: UUID, code: str | None, paid: bool | None = None) -> GenerationFailed:
    ids = {"requestId": request_id, "correlationId": request_id, "status": "failed"}
    why = {"errorMessage": "no", "errorCode": code, "mayHaveBeenPaid": paid}
    return GenerationFailed.model_validate(ids | why)


def _kinds(ledger: Ledger, request_id: UUID) -> list[str]:
    record = ledger.request(str(request_id))
    assert record
    return [entry["kind"] for entry in record["ledger"]]


def test_what_a_request_costs(tmp_path: Path) -> None:
    """A reservation costs 1, a capture does not cost another one, a release gives it back."""
    ledger, user = Ledger(tmp_path, credits_granted=10), str(USER)
    made, failed = uuid4(), uuid4()
    for request_id in (made, failed):
        ledger.submit(_requested(request_id))
    assert ledger.account(user) == Account(10, 8)
    ledger.apply(_completed(made), CALLBACK)
    assert ledger.account(user) == Account(10, 8)
    ledger.apply(_failed(failed, "INTERNAL"), CALLBACK)
    assert ledger.account(user) == Account(10, 9)
    ledger.apply(_completed(failed), CALLBACK)  # it was run again
    assert ledger.account(user) == Account(10, 8)


def test_nothing_is_written_when_credits_do_not_suffice(tmp_path: Path) -> None:
    """The third request of a user with two credits is refused; another user's is not."""
    ledger = Ledger(tmp_path, credits_granted=2)
    for _ in range(2):
        assert ledger.submit(_requested(uuid4()))
    refused = uuid4()
    with pytest.raises(OverdrawnError, match="costs 1, and 0 is left"):
        ledger.submit(_requested(refused))
    assert ledger.request(str(refused)) is None
    assert ledger.submit(_requested(uuid4(), uuid4()))


def test_a_repeated_submission_needs_no_credit(tmp_path: Path) -> None:
    """What was reserved before is not asked for again, also when nothing is left."""
    ledger, request_id = Ledger(tmp_path, credits_granted=1), uuid4()
    assert ledger.submit(_requested(request_id))
    assert not ledger.submit(_requested(request_id))
    assert _kinds(ledger, request_id) == ["reserve"]


def test_a_grant_is_kept(tmp_path: Path) -> None:
    """A user keeps what was granted when new users are granted something else."""
    Ledger(tmp_path, credits_granted=5).submit(_requested(uuid4()))
    later = Ledger(tmp_path, credits_granted=50)
    assert later.account(str(USER)) == Account(5, 4)
    assert later.account(str(uuid4())) == Account(50, 50)


def test_concurrent_submissions_never_overdraw(tmp_path: Path) -> None:
    """Eight at a time, each on its own connection: as many are accepted as there are credits."""
    Ledger(tmp_path)  # makes the tables
    accepted = itertools.count()
    begin = threading.Barrier(8)

    def ask() -> None:
        ledger = Ledger(tmp_path, credits_granted=10)
        begin.wait()
        for _ in range(4):
            try:
                ledger.submit(_requested(uuid4()))
            except OverdrawnError:
                continue
            next(accepted)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert next(accepted) == 10
    assert Ledger(tmp_path, credits_granted=10).account(str(USER)).balance == 0


async def test_the_account_says_what_is_left(home: Path) -> None:
    """402 with a problem document; `_sandbox/users` says granted and balance."""
    with LocalStack(home, ("odoo",), options=SandboxOptions(credits=1)) as stack:
        async with httpx.AsyncClient(base_url=stack.odoo_url, trust_env=False) as odoo:
            answers = [
                await odoo.post("/_sandbox/requests", content=_requested(uuid4()).model_dump_json())
                for _ in range(2)
            ]
            assert [answer.status_code for answer in answers] == [201, 402]
            assert answers[1].headers["content-type"] == "application/problem+json"
            problem = answers[1].json()
            assert (problem["title"], problem["balance"]) == ("Not enough credits", 0)
            account = await odoo.get(f"/_sandbox/users/{USER}")
            assert account.json() == {"granted": 1, "balance": 0}


REQUESTS = [uuid4() for _ in range(3)]
EVENTS = st.tuples(
    st.sampled_from(REQUESTS),
    st.one_of(
        st.just("submitted"),
        st.just("completed"),
        st.tuples(st.just("failed"), st.sampled_from(CODES), st.sampled_from((True, False, None))),
    ),
)


class _Odoo:
    """A ledger that events come to, and what must hold after each of them."""

    def __init__(self, folder: Path, policy: Any) -> None:
        self._ledger = Ledger(folder, policy, credits_granted=2)
        self._policy = policy
        self._db = sqlite3.connect(folder / "odoo.sqlite")
        self._rank: Counter[UUID] = Counter()
        self._seen: set[Any] = set()
        self._paid: dict[UUID, bool | None] = {}

    def take(self, request_id: UUID, event: Any) -> None:
        before = self._snapshot()
        if event == "submitted":
            self._submit(request_id)
        else:
            made = event == "completed"
            outcome = _completed(request_id) if made else _failed(request_id, *event[1:])
            effect = self._ledger.apply(outcome, CALLBACK)
            news = (request_id, event) not in self._seen
            assert effect == "repeated" or news, "a repeated event was applied"
            if effect == "repeated":
                assert self._snapshot() == before
            elif not made:
                self._paid[request_id] = event[2]
            self._seen.add((request_id, event))
        self._check(request_id)

    def _submit(self, request_id: UUID) -> None:
        before = self._snapshot()
        known = self._ledger.request(str(request_id)) is not None
        try:
            made = self._ledger.submit(_requested(request_id))
        except OverdrawnError:
            assert self._snapshot() == before
            return
        assert made is not known
        if made:
            assert self._ledger.account(str(USER)).balance >= 0

    def _check(self, request_id: UUID) -> None:
        record = self._ledger.request(str(request_id))
        if record is None:
            return
        rank = RANK[record["state"]]
        assert rank >= self._rank[request_id], "the state went back"
        self._rank[request_id] = rank
        kinds = Counter(entry["kind"] for entry in record["ledger"])
        assert max(kinds.values(), default=0) <= 1
        if record["state"] == "completed":
            assert (record["cost"], kinds["capture"]) == (1, 1)
            assert record["error_code"] is None
        if record["state"] == "failed":
            assert record["cost"] == self._price_of_failure(
                record["error_code"], self._paid[request_id]
            )
        costs = [
            each["cost"]
            for wanted in REQUESTS
            if (each := self._ledger.request(str(wanted))) and each["user_id"]
        ]
        granted, balance = self._ledger.account(str(USER))
        assert balance == granted - sum(costs)

    def _price_of_failure(self, code: str | None, paid: bool | None) -> int:
        if code == ErrorCode.CANCELED:
            return int(bool(paid))
        rules = {each.value: rule for each, rule in TAXONOMY.items()}
        theirs = code in rules and rules[code].charge is Charge.POLICY
        return int(theirs and self._policy == "capture")

    def _snapshot(self) -> list[Any]:
        tables = ("users", "requests", "ledger")
        return [self._db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


@pytest.mark.parametrize("policy", ["release", "capture"])
@given(events=st.lists(EVENTS, max_size=14))
def test_whatever_comes_in_whatever_order(policy: str, events: list[Any]) -> None:
    """Never charged for our fault, captured at most once, never back, repeats change nothing."""
    with tempfile.TemporaryDirectory() as folder:
        odoo = _Odoo(Path(folder), policy)
        for request_id, event in events:
            odoo.take(request_id, event)
