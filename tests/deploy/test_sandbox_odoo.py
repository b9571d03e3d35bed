"""The sandbox Odoo's callback, records and ledger."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts.events import GenerationCompleted, GenerationFailed, GenerationRequested
from deploy.local.sandbox.odoo.app import CALLBACK_PATHS
from deploy.local.sandbox.odoo.ledger import Envelope, Ledger
from deploy.local.sandbox.odoo.page import page
from deploy.local.stack.local_stack import LocalStack

Json = dict[str, Any]
Sign = Callable[[str], dict[str, str]]
PATH = CALLBACK_PATHS[0]
CALLBACK = Envelope("callback")


async def _deliver(odoo: httpx.AsyncClient, sign: Sign, event: Json, path: str = PATH) -> Any:
    body = json.dumps(event)
    return await odoo.post(path, content=body, headers=sign(body))


async def _record(odoo: httpx.AsyncClient, event: Json) -> Any:
    return (await odoo.get(f"/_sandbox/requests/{event['requestId']}")).json()


def _kinds(record: Json) -> list[str]:
    return [entry["kind"] for entry in record["ledger"]]


@pytest.mark.parametrize("path", CALLBACK_PATHS)
async def test_completed(odoo: httpx.AsyncClient, sign: Sign, completed: Json, path: str) -> None:
    """On each of its three paths, a completed generation is recorded and captured."""
    answer = await _deliver(odoo, sign, completed, path)
    assert (answer.status_code, answer.json()["status"]) == (200, "applied")
    record = await _record(odoo, completed)
    assert (record["state"], record["hash_value"]) == ("completed", completed["hashValue"])
    assert _kinds(record) == ["capture"]


async def test_repeat_changes_nothing(odoo: httpx.AsyncClient, sign: Sign, completed: Json) -> None:
    """The same event again is a 200 without effect; both deliveries are written down."""
    await _deliver(odoo, sign, completed)
    again = await _deliver(odoo, sign, completed)
    assert (again.status_code, again.json()["status"]) == (200, "repeated")
    record = await _record(odoo, completed)
    assert _kinds(record) == ["capture"]
    assert [delivery["effect"] for delivery in record["deliveries"]] == ["applied", "repeated"]


async def test_delivery_keeps_its_headers(
    odoo: httpx.AsyncClient, sign: Sign, completed: Json
) -> None:
    """A delivery is written down with webhook id, correlation id and traceparent."""
    body = json.dumps(completed)
    signed = sign(body)
    ids = {"X-Correlation-ID": completed["correlationId"], "traceparent": "00-1-2-01"}
    await odoo.post(PATH, content=body, headers=signed | ids)
    wanted = {"request_id": completed["requestId"]}
    (delivery,) = (await odoo.get("/_sandbox/deliveries", params=wanted)).json()
    assert delivery["webhook_id"] == signed["webhook-id"]
    assert delivery["correlation_id"] == completed["correlationId"]
    assert delivery["traceparent"] == "00-1-2-01"


async def test_wrong_token(odoo: httpx.AsyncClient, sign: Sign, completed: Json) -> None:
    """A wrong bearer token is a 401, and nothing is booked."""
    odoo.headers["Authorization"] = "Bearer wrong"
    assert (await _deliver(odoo, sign, completed)).status_code == 401
    assert (await odoo.get(f"/_sandbox/requests/{completed['requestId']}")).status_code == 404


async def test_wrong_signature(odoo: httpx.AsyncClient, sign: Sign, completed: Json) -> None:
    """A signature of another body is a 401."""
    headers = sign(json.dumps(completed))
    answer = await odoo.post(PATH, content=json.dumps(completed | {"x": 1}), headers=headers)
    assert (answer.status_code, answer.json()["error"]["detail"][:15]) == (401, "wrong signature")


async def test_no_signature(odoo: httpx.AsyncClient, completed: Json) -> None:
    """A body without signature headers is a 401."""
    assert (await odoo.post(PATH, json=completed)).status_code == 401


async def test_secrets_that_change(
    odoo: httpx.AsyncClient, sandboxes: LocalStack, sign: Sign, completed: Json
) -> None:
    """Of two tokens and secrets either will do; of others none, nor the old ones without both."""
    known = sandboxes.secrets
    old = {"tokens": [known.odoo_token], "signing_secrets": [known.odoo_signing_secret]}
    new = {"tokens": ["new"], "signing_secrets": ["whsec_" + "bmV3" * 8]}
    both = {name: [*new[name], *old[name]] for name in old}
    try:
        for taken, status in ((both, 200), (new, 401), ({**new, "tokens": both["tokens"]}, 401)):
            await odoo.put("/_sandbox/secrets", json=taken)
            assert (await _deliver(odoo, sign, completed)).status_code == status
        assert (await odoo.put("/_sandbox/secrets", json={"token": "x"})).status_code == 422
    finally:
        await odoo.put("/_sandbox/secrets", json=old)
    assert (await _deliver(odoo, sign, completed)).json()["status"] == "repeated"


@pytest.mark.parametrize("change", [{"hashValue": ""}, {"status": "done"}, {"imageData": "AA=="}])
async def test_invalid_event(
    odoo: httpx.AsyncClient, sign: Sign, completed: Json, change: Json
) -> None:
    """What breaks the contract is a 422."""
    assert (await _deliver(odoo, sign, completed | change)).status_code == 422


@pytest.mark.parametrize(
    ("fault", "status"), [({"status": 500}, 500), ({"html": True}, 200), ({"status": 404}, 404)]
)
async def test_fault_then_well(
    odoo: httpx.AsyncClient, sign: Sign, completed: Json, fault: Json, status: int
) -> None:
    """A fault meets as many deliveries as it says, and books nothing."""
    await odoo.put("/_sandbox/faults", json=fault | {"times": 1})
    assert (await _deliver(odoo, sign, completed)).status_code == status
    assert (await _deliver(odoo, sign, completed)).json()["status"] == "applied"


@pytest.mark.parametrize(("fault", "booked"), [("hang", 404), ("commit_then_hang", 200)])
async def test_hang(
    odoo: httpx.AsyncClient, sign: Sign, completed: Json, fault: str, booked: int
) -> None:
    """A hanging Odoo may or may not have booked the event."""
    await odoo.put("/_sandbox/faults", json={fault: True})
    odoo.timeout = httpx.Timeout(0.5)
    with pytest.raises(httpx.ReadTimeout):
        await _deliver(odoo, sign, completed)
    found = await odoo.get(f"/_sandbox/requests/{completed['requestId']}")
    assert found.status_code == booked


async def test_late_answer(odoo: httpx.AsyncClient, sign: Sign, completed: Json) -> None:
    """An Odoo that answers late has booked before."""
    await odoo.put("/_sandbox/faults", json={"late_seconds": 5, "times": 1})
    odoo.timeout = httpx.Timeout(0.3)
    with pytest.raises(httpx.ReadTimeout):
        await _deliver(odoo, sign, completed)
    assert (await _deliver(odoo, sign, completed)).json()["status"] == "repeated"


async def test_begins_in_odoo(odoo: httpx.AsyncClient, requested: Json) -> None:
    """EVT-AIG-001 makes the record and reserves; sent again it does not reserve again."""
    first = await odoo.post("/_sandbox/requests", json=requested)
    again = await odoo.post("/_sandbox/requests", json=requested)
    assert (first.status_code, again.status_code) == (201, 200)
    record = await _record(odoo, requested)
    assert (record["state"], _kinds(record)) == ("requested", ["reserve"])


async def test_page_shows_the_prompt_as_text(odoo: httpx.AsyncClient, requested: Json) -> None:
    """The page shows what was asked for, and a browser may run nothing on it."""
    await odoo.post("/_sandbox/requests", json=requested)
    shown = await odoo.get("/")
    assert "a &lt;b&gt;fox&lt;/b&gt; &amp; friends" in shown.text
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("url", ["javascript:alert(1)", 'http://x/"onerror="alert(1)', None])
def test_page_escapes_everything(url: str | None) -> None:
    """Whatever stands in a record, the page's own markup is all there is."""
    texts = dict.fromkeys(
        ("request_id", "state", "prompt", "entries", "format", "error_code", "user_message"),
        "<script>\"'",
    )
    numbers = {"width": 1, "height": 1, "size": 1, "delivered": 1, "updated_at": 0.0}
    shown = page([texts | numbers | {"image_url": url}])
    for wrong in ("<script", "javascript:", '"onerror', "\"'"):
        assert wrong not in shown


async def test_records_survive_kill(
    odoo: httpx.AsyncClient, sign: Sign, completed: Json, sandboxes: LocalStack
) -> None:
    """After `kill -9` what was answered is still there."""
    await _deliver(odoo, sign, completed)
    service = sandboxes.supervisor("odoo")
    service.kill()
    service.wait_ready(30)
    assert (await _record(odoo, completed))["state"] == "completed"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger of their own."""
    return Ledger(tmp_path)


def _failure(event: Json, code: str | None) -> GenerationFailed:
    return GenerationFailed.model_validate(event | {"errorCode": code})


@pytest.mark.parametrize(
    "code", ["PROVIDER_UNAVAILABLE", "AUTH_CONFIG", "INTERNAL", "NO_SUCH_CODE", None]
)
def test_our_fault_is_released(ledger: Ledger, requested: Json, failed: Json, code: str) -> None:
    """A system, configuration or unknown error gives the reservation back."""
    ledger.submit(GenerationRequested.model_validate(requested))
    ledger.apply(_failure(failed, code), CALLBACK)
    record = ledger.request(failed["requestId"])
    assert record
    assert _kinds(record) == ["reserve", "release"]


@pytest.mark.parametrize("policy", ["release", "capture"])
def test_user_error_follows_policy(tmp_path: Path, failed: Json, policy: Any) -> None:
    """A user's error is booked as the platform's policy says."""
    ledger = Ledger(tmp_path, user_errors=policy)
    ledger.apply(_failure(failed, "POLICY_INPUT"), CALLBACK)
    record = ledger.request(failed["requestId"])
    assert record
    assert _kinds(record) == [policy]


@pytest.mark.parametrize("policy", ["release", "capture"])
@pytest.mark.parametrize(("paid", "kind"), [(True, "capture"), (False, "release")])
def test_a_cancellation_costs_what_was_begun(
    tmp_path: Path, failed: Json, policy: Any, paid: bool, kind: str
) -> None:
    """Whatever the policy on users' errors: the event says whether the paid call was begun."""
    ledger = Ledger(tmp_path, user_errors=policy)
    event = _failure({**failed, "mayHaveBeenPaid": paid}, "CANCELED")
    ledger.apply(event, CALLBACK)
    record = ledger.request(failed["requestId"])
    assert record
    assert _kinds(record) == [kind]


def test_completed_may_follow_failed(ledger: Ledger, completed: Json, failed: Json) -> None:
    """A generation that was run again succeeds: it is captured, the error is gone."""
    ledger.apply(GenerationFailed.model_validate(failed), CALLBACK)
    assert ledger.apply(GenerationCompleted.model_validate(completed), CALLBACK) == "applied"
    record = ledger.request(completed["requestId"])
    assert record
    assert (record["state"], record["error_code"]) == ("completed", None)
    assert _kinds(record) == ["release", "capture"]


def test_nothing_follows_completed(ledger: Ledger, completed: Json, failed: Json) -> None:
    """A failure that arrives late changes nothing."""
    ledger.apply(GenerationCompleted.model_validate(completed), CALLBACK)
    assert ledger.apply(GenerationFailed.model_validate(failed), CALLBACK) == "repeated"
    record = ledger.request(completed["requestId"])
    assert record
    assert (record["state"], _kinds(record)) == ("completed", ["capture"])


def test_database_refuses_a_second_entry(ledger: Ledger, tmp_path: Path, completed: Json) -> None:
    """Entries are unique by request and kind, whatever a program tries."""
    ledger.apply(GenerationCompleted.model_validate(completed), CALLBACK)
    with (
        sqlite3.connect(tmp_path / "odoo.sqlite") as other,
        pytest.raises(sqlite3.IntegrityError, match="UNIQUE"),
    ):
        other.execute(
            "INSERT INTO ledger (request_id, kind, at) VALUES (?, 'capture', 0)",
            (completed["requestId"],),
        )


def test_unknown_request(ledger: Ledger) -> None:
    """There is no record of what never came."""
    assert ledger.request(str(uuid4())) is None
