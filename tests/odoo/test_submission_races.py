"""Many submissions at once, over real HTTP: what one user has is spent once."""

import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from tests.odoo.lone import REQUEST, Lone, Rpc, RpcError, at_once, completed, failed

T = TypeVar("T")
CREDITS_ERROR = "odoo.addons.duragen.exceptions.CreditsError"
QUOTA_ERROR = "odoo.addons.duragen.exceptions.QuotaError"
GIVEN_UP = "psycopg2.errors.SerializationFailure"
"""What is left after Odoo has run a request five times: a person may have to try again."""


def _submits(lone: Lone, user: Rpc, **vals: Any) -> int:
    wanted = {"prompt": "a fox", "model_id": lone.model, "resolution": "256x256", **vals}
    [made] = user(REQUEST, "submit_generation", wanted)
    number: int = made
    return number


def _made(lone: Lone, user: Rpc) -> int:
    return int(
        lone.sql(f"SELECT count(*) FROM duragen_generation_request WHERE user_id = {user.uid}")[0][
            0
        ]
    )


def test_no_user_spends_more_than_there_is(either: Lone) -> None:
    """Two credits and four requests at once: two are made, the others refused."""
    user = either.someone(2)
    answers = at_once(4, lambda _: _submits(either, user))
    made = [each for each in answers if isinstance(each, int)]
    refused = [each.kind for each in answers if isinstance(each, RpcError)]
    assert len(made) + len(refused) == 4
    assert set(refused) <= {CREDITS_ERROR, GIVEN_UP}
    assert len(made) <= 2
    assert either.balance(user) == 2 - len(made)
    assert _made(either, user) == len(made)
    if GIVEN_UP not in refused:
        assert len(made) == 2


def test_no_user_exceeds_the_quota(lone: Lone) -> None:
    """Two a day and four at once."""
    user = lone.someone(100)
    vals = {"user_id": user.uid, "period": "day", "limit": 2}
    lone.admin("duragen.quota", "create", vals)
    answers = at_once(4, lambda _: _submits(lone, user))
    made = [each for each in answers if isinstance(each, int)]
    refused = [each.kind for each in answers if isinstance(each, RpcError)]
    assert set(refused) <= {QUOTA_ERROR, GIVEN_UP}
    assert len(made) <= 2
    assert (_made(lone, user), lone.balance(user)) == (len(made), 100 - len(made))


def test_no_user_exceeds_the_rate(lone: Lone) -> None:
    """Two a minute and four at once; then no other way in has room, over real HTTP."""
    user, key = lone.someone(100), "duragen.api_rate_per_minute"
    [before] = lone.admin("ir.config_parameter", "search_read", [("key", "=", key)], ["value"])
    lone.admin("ir.config_parameter", "set_param", key, "2")
    try:
        answers = at_once(4, lambda _: _submits(lone, user))
        made = [each for each in answers if isinstance(each, int)]
        refused = [each.kind for each in answers if isinstance(each, RpcError)]
        assert set(refused) <= {QUOTA_ERROR, GIVEN_UP}
        assert len(made) <= 2
        while len(made) < 2:  # a person may have to try again
            made.append(_submits(lone, user))
        draft = {"prompt": "a fox", "model_id": lone.model, "resolution": "256x256"}
        drafted = user(REQUEST, "create", [draft])
        with pytest.raises(RpcError) as raised:
            user(REQUEST, "action_submit", drafted)
        assert raised.value.kind == QUOTA_ERROR
        with user.browser() as browser:
            token = re.search(r'csrf_token" value="([^"]+)"', browser.get("/my/images").text)
            assert token
            form = {"csrf_token": token[1], "prompt": "a fox", "model_id": lone.model}
            accepts = {"Accept": "application/json"}
            answer = browser.post("/my/images/submit", data=form, headers=accepts)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 61
        charged = [("user_id", "=", user.uid), ("charged", "=", True)]
        assert lone.admin(REQUEST, "search_count", charged) == 2
        assert lone.balance(user) == 98
    finally:
        lone.admin("ir.config_parameter", "set_param", key, before["value"])


@pytest.mark.parametrize("accounts", ["old", "none"])
def test_the_rate_holds_over_companies(lone: Lone, accounts: str) -> None:
    """Four a minute, and eight at once in two companies; what one begins with is granted once."""
    elsewhere = lone.admin("res.company", "create", {"name": str(uuid.uuid4())})
    user = lone.someone(100)
    lone.admin("res.users", "write", [user.uid], {"company_ids": [(4, elsewhere)]})
    [row] = lone.admin("res.users", "read", [user.uid], ["company_ids"])
    free = {"name": "Gift", "model_uuid": str(uuid.uuid4()), "price": 0}
    model = lone.admin("duragen.ai.model", "create", free | {"resolutions": "256x256"})

    def asks(position: int) -> int:
        wanted = {"prompt": "a fox", "model_id": model, "resolution": "256x256"}
        context = {"allowed_company_ids": [row["company_ids"][position % 2]]}
        [made] = user(REQUEST, "submit_generation", wanted, context=context)
        return int(made)

    lone.forgets(user)
    used = [asks(position) for position in range(2)] if accounts == "old" else []
    key, rate = "duragen.api_rate_per_minute", 4
    [before] = lone.admin("ir.config_parameter", "search_read", [("key", "=", key)], ["value"])
    lone.admin("ir.config_parameter", "set_param", key, str(rate))
    try:
        answers = at_once(8, asks)
    finally:
        lone.admin("ir.config_parameter", "set_param", key, before["value"])
    made = [each for each in answers if isinstance(each, int)]
    refused = {each.kind for each in answers if isinstance(each, RpcError)}
    assert refused <= {QUOTA_ERROR, GIVEN_UP}
    assert 1 <= len(used) + len(made) <= rate
    granted = f"SELECT id FROM duragen_credit_entry WHERE kind = 'grant' AND user_id = {user.uid}"
    assert len(lone.sql(granted)) == 1


def test_the_same_reference_at_once_is_one_request(either: Lone) -> None:
    """Ten threads, one reference: all get the same, and it is paid for once."""
    user = either.someone(100)
    answers = at_once(10, lambda _: _submits(either, user, client_reference="order 7"))
    assert {type(each) for each in answers} == {int}
    assert len(set(answers)) == 1
    assert (_made(either, user), either.balance(user)) == (1, 99)


def test_trying_again_twice_at_once_is_one_request(lone: Lone) -> None:
    """Two clicks, or one whose answer was lost: one new request, paid for once."""
    user = lone.someone(10)
    made = lone.reads(_submits(lone, user))
    assert lone.delivers(failed(made)).status_code == 200
    opened = at_once(3, lambda _: user(REQUEST, "action_retry", [made["id"]])["res_id"])
    assert {type(each) for each in opened} == {int}
    assert len(set(opened)) == 1
    assert (_made(lone, user), lone.balance(user)) == (2, 9)


def test_the_first_requests_of_a_user_open_one_account(lone: Lone) -> None:
    """What one begins with is granted once, whichever comes first."""
    newcomer = lone.someone(100)
    lone.forgets(newcomer)
    answers = at_once(4, lambda _: _submits(lone, newcomer))
    made = [each for each in answers if isinstance(each, int)]
    assert {each.kind for each in answers if isinstance(each, RpcError)} <= {GIVEN_UP}
    assert lone.balance(newcomer) == 1_000 - len(made)
    accounts = lone.sql(f"SELECT id FROM duragen_account WHERE user_id = {newcomer.uid}")
    assert len(accounts) == 1


def _delivered(lone: Lone, event: Any) -> Any:
    """What Odoo says; one that lost five times against others is delivered again, as by Duragen."""
    answers = (lone.delivers(event) for _ in range(4))
    return next(each.json() for each in answers if each.status_code != 503)


def test_outcomes_and_submissions_at_once_keep_the_ledger(lone: Lone) -> None:
    """While he asks, others of his end well or badly, and one is taken back."""
    user = lone.someone(20)
    records = [lone.reads(_submits(lone, user)) for _ in range(6)]

    def one(position: int) -> Any:
        if position < 2:
            return _delivered(lone, completed(records[position], b"an image"))
        if position < 4:
            return _delivered(lone, failed(records[position]))
        if position < 6:
            return user(REQUEST, "action_cancel", [records[position]["id"]])
        return _submits(lone, user)

    answers = at_once(9, one)
    wrong = {each.kind for each in answers if isinstance(each, RpcError)}
    assert wrong <= {GIVEN_UP}
    applied = [{"status": "applied", "requestId": each["request_uuid"]} for each in records[:4]]
    assert answers[:4] == applied
    charged = lone.admin(
        REQUEST, "search_count", [("user_id", "=", user.uid), ("charged", "=", True)]
    )
    assert lone.balance(user) == 20 - charged


def test_only_one_of_two_errors_at_once_is_the_free_one(lone: Lone) -> None:
    """Where the first error of a day is free, also when no balance moves that both would write."""
    user = lone.someone(10)
    free_of_charge = {"name": "Gift", "model_uuid": str(uuid.uuid4()), "price": 0}
    model = lone.admin("duragen.ai.model", "create", free_of_charge | {"resolutions": "256x256"})
    key = "duragen.user_errors"
    lone.admin("ir.config_parameter", "set_param", key, "after_warning")
    try:
        records = [lone.asks(user, model_id=model) for _ in range(4)]
        refused = {"errorCode": "POLICY_INPUT", "errorType": "user"}
        events = [failed(record) | refused for record in records]
        answers = at_once(4, lambda position: lone.delivers(events[position]).status_code)
        # One that lost five times is delivered again.
        again = [lone.delivers(e) for e, said in zip(events, answers, strict=True) if said != 200]
        assert {each.status_code for each in again} <= {200}
    finally:
        lone.admin("ir.config_parameter", "set_param", key, "release")
    rows = lone.sql(f"SELECT user_error FROM duragen_generation_request WHERE user_id = {user.uid}")
    assert sorted(rows) == [["charged"]] * 3 + [["warned"]]


def _loses(lone: Lone, statement: str, call: Callable[[], T]) -> T:
    """What `call` returns, which waits for the statement's transaction and loses against it."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as threads:
        with lone.odoo.site.postgres.holding(lone.odoo.database, statement):
            answer = threads.submit(call)
            give_up = time.monotonic() + 60
            while lone.sql(waiting) == [["0"]] and not answer.done():
                assert time.monotonic() < give_up, "nobody waits for a lock"
                time.sleep(0.02)
        return answer.result(60)


RACES: dict[str, tuple[str, Callable[[Lone, Rpc, Any], Any]]] = {
    "the balance": (
        "UPDATE duragen_account SET balance = balance WHERE user_id = {user}",
        lambda lone, user, _: _submits(lone, user),
    ),
    "a turn": (
        "UPDATE duragen_account SET write_date = write_date WHERE user_id = {user}",
        lambda lone, user, _: _submits(lone, user, client_reference="order 8"),
    ),
    "the request": (
        "UPDATE duragen_generation_request SET write_date = write_date WHERE id = {request}",
        lambda _, user, made: user(REQUEST, "action_cancel", [made["id"]]),
    ),
    "an outcome": (
        "UPDATE duragen_generation_request SET write_date = write_date WHERE id = {request}",
        lambda lone, _, made: lone.delivers(failed(made)).status_code,
    ),
}


@pytest.mark.parametrize("race", RACES)
def test_whoever_loses_a_race_is_run_again_in_silence(lone: Lone, race: str) -> None:
    """Odoo repeats it; an operator finds no ERROR in the log for what is no error."""
    user = lone.someone(10)
    made = lone.reads(_submits(lone, user))
    statement, call = RACES[race]
    log = lone.odoo.log
    before = len(log.read_text())
    named = statement.format(user=user.uid, request=made["id"])
    assert _loses(lone, named, lambda: call(lone, user, made))
    said = log.read_text()[before:]
    assert "SERIALIZATION_FAILURE" in said, "it has lost no race"
    assert " ERROR " not in said, said


def test_a_new_user_in_two_companies_is_granted_once(lone: Lone) -> None:
    """The later of two first requests waits for the user's row, and finds that he has credits."""
    user = lone.someone(10)
    lone.forgets(user)
    there = lone.admin("res.company", "create", {"name": str(uuid.uuid4())})
    lone.admin("res.users", "write", [user.uid], {"company_ids": [(4, there)]})
    first = (
        "UPDATE res_users SET write_date = write_date WHERE id = {user};"
        " INSERT INTO duragen_account (user_id, company_id, balance) VALUES ({user}, {there}, 7);"
        " INSERT INTO duragen_credit_entry (account_id, user_id, company_id, kind, delta)"
        " SELECT id, user_id, company_id, 'grant', 7 FROM duragen_account WHERE user_id = {user}"
    )
    log = lone.odoo.log
    before = len(log.read_text())
    with pytest.raises(RpcError) as raised:
        _loses(lone, first.format(user=user.uid, there=there), lambda: _submits(lone, user))
    assert raised.value.kind == CREDITS_ERROR
    grants = f"SELECT delta FROM duragen_credit_entry WHERE kind = 'grant' AND user_id = {user.uid}"
    assert lone.sql(grants) == [["7"]]
    assert "bad query" not in log.read_text()[before:]
