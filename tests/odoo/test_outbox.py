"""From the commit to the image, whatever dies on the way: started, delivered and paid once."""

import threading
from contextlib import suppress
from typing import Any

import httpx
import pytest

from deploy.local.real_odoo.beside import Beside
from tests.odoo.desk import CAPTURED, NOW, Desk, hole, until
from tests.odoo.lone import REQUEST, RpcError
from tests.odoo.people import PATIENCE_SECONDS

NOBODY = {"temporal": "127.0.0.1:1", "gateway": "http://127.0.0.1:1"}
SETTING = {"temporal": "temporal_address", "gateway": "gateway_url"}
PATHS = pytest.mark.parametrize("path", ["temporal", "gateway"])


@pytest.fixture
def desk(threaded: Beside) -> Desk:
    """The threaded Odoo, which outcomes come to by callback."""
    return Desk(threaded)


@pytest.fixture(params=["threaded", "prefork"])
def either(request: pytest.FixtureRequest) -> Desk:
    """Either Odoo: by callback, or by odoorpc to one of several workers."""
    return Desk(request.getfixturevalue(request.param))


@PATHS
def test_what_could_not_be_started_is_started_later(desk: Desk, path: str) -> None:
    """No server is there at the commit: the request stays, and the outbox starts it, once."""
    with desk.set_up(start_path=path):
        with desk.set_up(**{SETTING[path]: NOBODY[path]}):
            made = desk.asks()
            assert (desk.state(made), desk.ledger(made)) == ("requested", CAPTURED[:1])
        assert desk.known(made).get("status") == 404
        desk.outbox_takes(made)
        desk.ended(made, "completed")
    desk.assert_made_once(made)


@pytest.mark.parametrize(
    ("where", "path"), [("threaded", "temporal"), ("threaded", "gateway"), ("prefork", "temporal")]
)
def test_odoo_dies_between_the_commit_and_the_start(
    where: str, path: str, request: pytest.FixtureRequest
) -> None:
    """Killed while it waits for an answer: what was committed is started when it is back, once."""
    desk = Desk(request.getfixturevalue(where))
    before = {row[0] for row in desk.sql("SELECT id FROM duragen_generation_request")}
    with desk.set_up(start_path=path), hole() as (address, called):
        scheme = "http://" if path == "gateway" else ""
        with desk.set_up(**{SETTING[path]: scheme + address}):
            asking = threading.Thread(target=_and_nothing_comes_back, args=(desk,))
            asking.start()
            assert called.wait(PATIENCE_SECONDS)
            # Another session sees the request: it is committed, and not started.
            rows = desk.sql("SELECT id, state, request_uuid FROM duragen_generation_request")
            [[number, state, request_id]] = [row for row in rows if row[0] not in before]
            assert state == "requested"
            desk.odoo.kill()
            asking.join()
            desk.odoo.supervisor.wait_ready(PATIENCE_SECONDS)
        [[correlation_id]] = desk.sql(
            f"SELECT correlation_uuid FROM duragen_generation_request WHERE id = {number}"
        )
        made = {"id": int(number), "request_uuid": request_id, "correlation_uuid": correlation_id}
        assert desk.ledger(made) == CAPTURED[:1]
        desk.outbox_takes(made)
        desk.ended(made, "completed")
    desk.assert_made_once(made)


def _and_nothing_comes_back(desk: Desk) -> None:
    with suppress(httpx.HTTPError):
        desk.asks()


def test_odoo_dies_while_it_takes_the_outcome(either: Desk) -> None:
    """In the middle of the transaction: nothing of it is left, and the next delivery is taken."""
    with either.images_taking(2):
        made = either.asks()
        either.ended(made, "started")
        with either.held(made):
            until(either.someone_waits_for_a_row)
            assert either.ledger(made) == CAPTURED[:1]
            either.odoo.kill()
        either.odoo.supervisor.wait_ready(PATIENCE_SECONDS)

    def refresh() -> None:
        # When Odoo took too long to come back the outcome is parked; asking for it brings it.
        with suppress(RpcError):
            either.admin(REQUEST, "action_refresh", [made["id"]])

    either.ended(made, "completed", refresh)
    either.assert_made_once(made)


def test_what_is_being_made_is_taken_back(desk: Desk) -> None:
    """Duragen cancels it, and delivers the outcome: canceled, and charged, for it was under way."""
    with desk.set_up(start_path="gateway"), desk.images_taking(60):
        made = desk.asks()
        until(lambda: desk.calls(made)["calls"])
        desk.admin(REQUEST, "action_cancel", [made["id"]])
        desk.ended(made, "canceled")
    assert desk.ledger(made) == CAPTURED


def test_a_cancellation_that_did_not_arrive_is_passed_on_later(desk: Desk) -> None:
    """The outbox repeats it until Duragen has it."""
    with desk.images_taking(60):
        made = desk.asks()
        until(lambda: desk.calls(made)["calls"])
        desk.ended(made, "started")
        with desk.set_up(temporal_address=NOBODY["temporal"]):
            desk.admin(REQUEST, "action_cancel", [made["id"]])
        assert desk.state(made) == "started"
        desk.outbox_takes(made)
        desk.ended(made, "canceled")
    assert desk.ledger(made) == CAPTURED


# Reconciliation -----------------------------------------------------------------------------------


def _is_due(desk: Desk, made: dict[str, Any], more: str = "") -> None:
    desk.sql(
        "UPDATE duragen_generation_request SET state = 'started', next_start_at = NULL,"
        f" next_check_at = {NOW} {more} WHERE id = {made['id']}"
    )


def test_what_temporal_does_not_know_is_started_again(desk: Desk) -> None:
    """Odoo has it as started, and Temporal does not know it."""
    with desk.set_up(temporal_address=NOBODY["temporal"]):
        made = desk.asks()
        _is_due(desk, made)
    desk.runs("cron_reconcile")
    desk.runs("cron_start")
    desk.ended(made, "completed")
    desk.assert_made_once(made)


def test_what_ended_without_a_delivery_is_found(either: Desk) -> None:
    """Odoo's database is an older one: the image is read from the store, and paid for once."""
    made = either.asks()
    either.ended(made, "completed")
    number = made["id"]
    either.sql(
        "ALTER TABLE duragen_credit_entry DISABLE TRIGGER USER;"
        f"DELETE FROM duragen_credit_entry WHERE request_id = {number} AND kind = 'capture';"
        "ALTER TABLE duragen_credit_entry ENABLE TRIGGER USER;"
        f"DELETE FROM duragen_generated_image WHERE request_id = {number}"
    )
    _is_due(either, made, ", ended_at = NULL, charged = true")
    either.runs("cron_reconcile")
    assert either.state(made) == "completed"
    either.assert_made_once(made)


def test_a_parked_outcome_is_asked_for(desk: Desk) -> None:
    """Odoo refused it; as soon as that is fixed, asking brings it, long before its next try."""
    with desk.set_up(callback_token="another"):
        made = desk.asks()
        until(lambda: desk.known(made).get("parked"))
        assert desk.state(made) == "started"
    _is_due(desk, made)
    desk.runs("cron_reconcile")
    [[note]] = desk.sql(
        "SELECT coalesce(progress_note, state) FROM duragen_generation_request"
        f" WHERE id = {made['id']}"
    )
    assert "parked" in note or note == "completed"
    desk.ended(made, "completed")
    desk.assert_made_once(made)
