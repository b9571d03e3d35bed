"""One image from a person's request in a real Odoo to Odoo's record, and what can go wrong."""

import hashlib
import io
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import odoorpc
import pytest
from PIL import Image

from deploy.local.real_odoo.beside import Beside
from deploy.local.real_odoo.configure import PORTAL, USER, connect, set_parameters
from tests.odoo.people import LATENCY_SECONDS, PATIENCE_SECONDS, REQUEST, Person


@pytest.fixture
def person(start_path: str, beside: Beside) -> Iterator[Person]:
    """A customer in the portal, or a colleague in the backend: one for each path."""
    with Person(beside.odoo, PORTAL if start_path == "temporal" else USER) as somebody:
        yield somebody


def test_an_image_arrives(beside: Beside, start_path: str, person: Person) -> None:
    """Odoo has the image, the ledger one capture, the page the news; one call was paid."""
    with person.listens() as bus:
        asked = person.submits("a red fox in the snow")
        messages = bus.until(asked["request_uuid"], "completed")
    through_gateway = asked["correlation_uuid"] in beside.stack.log_path("gateway").read_text()
    assert through_gateway == (start_path == "gateway")
    record = person.reads(asked["id"])
    assert (record["state"], record["charged"], record["price"]) == ("completed", True, 1)
    assert person.ledger(asked["id"]) == [("reserve", -1), ("capture", 0)]
    assert messages[-1]["balance"] == person.balance()
    assert messages[-1]["imageUrl"] == f"/duragen/image/{record['image_ids'][0]}"
    generation = _generation(beside, asked["request_uuid"])
    assert generation["state"] == "completed"
    data = person.http.get(messages[-1]["imageUrl"]).content
    assert hashlib.sha256(data).hexdigest() == generation["image"]["sha256"]
    with Image.open(io.BytesIO(data)) as image:
        assert (image.size, image.format) == ((256, 256), "PNG")
    assert _paid(beside, asked["correlation_uuid"]) == 1


def test_an_image_stays_in_the_store(beside: Beside, image_storage: Callable[[str], None]) -> None:
    """With the images in S3, Odoo's route leads to a link that answers with the image."""
    image_storage("s3")
    with Person(beside.odoo, PORTAL) as person, person.listens() as bus:
        asked = person.submits("a harbour in the fog")
        messages = bus.until(asked["request_uuid"], "completed")
        answer = person.http.get(messages[-1]["imageUrl"])
    assert answer.status_code in {302, 303}
    link = answer.headers["location"]
    assert link.startswith(beside.stack.s3_url)
    data = httpx.get(link, trust_env=False).raise_for_status().content
    sha256 = _generation(beside, asked["request_uuid"])["image"]["sha256"]
    assert hashlib.sha256(data).hexdigest() == sha256


def test_a_refused_prompt_costs_nothing(beside: Beside) -> None:
    """The credit is released, and the person reads it in words of his own."""
    with Person(beside.odoo, PORTAL) as person, person.listens() as bus:
        asked = person.submits("something forbidden")
        messages = bus.until(asked["request_uuid"], "failed")
        record = person.reads(asked["id"])
        assert (record["state"], record["charged"]) == ("failed", False)
        assert person.ledger(asked["id"]) == [("reserve", -1), ("release", 1)]
        assert messages[-1]["errorCode"] == "POLICY_INPUT"
        assert record["user_message"]
        assert messages[-1]["balance"] == person.balance()


def test_canceling_each_is_no_way_to_free_calls(threaded: Beside) -> None:
    """A quota of two, both canceled during their paid calls: both are charged, a third refused."""
    with Person(threaded.odoo, USER) as person, _images_take(threaded, 60), person.listens() as bus:
        quota = _quota(threaded, person, 2)
        try:
            for number in range(2):
                asked = person.submits(f"a free lunch, number {number}")
                _wait_for_call(threaded, asked["correlation_uuid"])
                person.rpc.execute(REQUEST, "action_cancel", [asked["id"]])
                messages = bus.until(asked["request_uuid"], "canceled")
                assert person.ledger(asked["id"]) == [("reserve", -1), ("capture", 0)]
                assert messages[-1]["charged"] is True
                said = person.rpc.execute(REQUEST, "read", [asked["id"]], ["friendly_message"])
                assert "was charged" in said[0]["friendly_message"]
                assert _paid(threaded, asked["correlation_uuid"]) == 1
            with pytest.raises(odoorpc.error.RPCError, match="quota of today"):
                person.submits("another one")
        finally:
            quota.unlink()


def test_outcomes_come_as_they_were_set_to(threaded: Beside, prefork: Beside) -> None:
    """Posted to the callback of one Odoo, called by odoorpc in the other."""
    for odoo, called in ((threaded.odoo, True), (prefork.odoo, False)):
        with Person(odoo, PORTAL) as person, person.listens() as bus:
            bus.until(person.submits("a meadow in May")["request_uuid"], "completed")
        assert ("POST /duragen/v1/callback" in odoo.log.read_text()) == called


def test_odoo_dies_while_the_image_is_made(beside: Beside) -> None:
    """The outcome is delivered when it is back, and the image is not made again."""
    with Person(beside.odoo, PORTAL) as person:
        asked = person.submits("a lighthouse at dawn")
        beside.odoo.kill()
        beside.odoo.supervisor.wait_ready(PATIENCE_SECONDS)
        with person.listens() as bus:
            bus.until(asked["request_uuid"], "completed")
        assert person.ledger(asked["id"]) == [("reserve", -1), ("capture", 0)]
        assert _paid(beside, asked["correlation_uuid"]) == 1


def _generation(beside: Beside, request_id: str) -> dict[str, Any]:
    """What the orchestrator says of it."""
    known: dict[str, Any] = httpx.get(
        f"{beside.stack.gateway_url}/v1/generations/{request_id}",
        headers={"Authorization": f"Bearer {beside.stack.secrets.api_key}"},
        trust_env=False,
    ).json()
    return known


@contextmanager
def _images_take(beside: Beside, seconds: float) -> Iterator[None]:
    """How long the image service takes, until the block ends."""
    url = f"{beside.stack.images_url}/_sandbox/faults"
    httpx.put(url, json={"latency_seconds": seconds}, trust_env=False).raise_for_status()
    try:
        yield
    finally:
        back = {"latency_seconds": LATENCY_SECONDS}
        httpx.put(url, json=back, trust_env=False).raise_for_status()


def _quota(beside: Beside, person: Person, limit: int) -> Any:
    """So many a day for one person, beyond what others of these tests have asked for."""
    env = connect(beside.odoo).env
    row = {"user_id": person.rpc.env.uid, "period": "day"}
    table = env["duragen.quota"]
    begun = f"{datetime.now(UTC):%Y-%m-%d} 00:00:00"
    counted = [("user_id", "=", row["user_id"]), ("counted", "=", True)]
    used = env[REQUEST].search_count([*counted, ("requested_at", ">=", begun)])
    return table.browse(table.create({**row, "limit": used + limit}))


def _wait_for_call(beside: Beside, correlation_id: str) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not _calls(beside, correlation_id)["calls"]:
        assert time.monotonic() < give_up, "the image service was not called"
        time.sleep(0.1)


def _paid(beside: Beside, correlation_id: str) -> int:
    """How many calls the image service was paid for."""
    paid: int = _calls(beside, correlation_id)["paid"]
    return paid


def _calls(beside: Beside, correlation_id: str) -> dict[str, Any]:
    answer = httpx.get(
        f"{beside.stack.images_url}/_sandbox/calls",
        params={"correlation_id": correlation_id},
        trust_env=False,
    )
    found: dict[str, Any] = answer.json()
    return found


def test_the_connection_test_asks_the_workers(beside: Beside, start_path: str) -> None:
    """Green with them, over both ways; a model that they do not know is red, and has its name."""
    admin = connect(beside.odoo)
    shown = admin.execute("res.config.settings", "action_duragen_test", [])["params"]
    assert shown["type"] == "success", shown["message"]
    assert "A worker has called this Odoo back" in shown["message"]
    assert start_path in shown["message"].lower()
    stranger = {"name": "Stranger", "model_uuid": str(uuid.uuid4()), "resolutions": "256x256"}
    models = admin.env["duragen.ai.model"]
    made = models.browse(models.create(stranger))
    try:
        shown = admin.execute("res.config.settings", "action_duragen_test", [])["params"]
    finally:
        made.unlink()
    assert shown["type"] == "danger"
    assert f"Stranger ({stranger['model_uuid']})" in shown["message"]


def test_a_wrong_secret_is_found_by_the_connection_test(threaded: Beside) -> None:
    """The worker signs with what its settings have; this Odoo has another one."""
    admin = connect(threaded.odoo)
    parameters = admin.env["ir.config_parameter"]
    before = parameters.get_param("duragen.signing_secret")
    set_parameters(admin, {"duragen.signing_secret": "whsec_" + "b3RoZXJz" * 4})
    try:
        shown = admin.execute("res.config.settings", "action_duragen_test", [])["params"]
    finally:
        set_parameters(admin, {"duragen.signing_secret": before})
    assert shown["type"] == "danger"
    assert "the signature is wrong" in shown["message"]
