"""A request by RabbitMQ and its outcome from there, in a real Odoo with a real RabbitMQ."""

from deploy.local.real_odoo.configure import PORTAL
from tests.odoo.desk import Desk
from tests.odoo.people import Person


def test_an_image_comes_by_the_broker(at_broker: Desk) -> None:
    """Published by Odoo, made once, heard at Odoo's queue: Duragen never calls Odoo."""
    log = at_broker.odoo.log
    called = log.read_text().count("POST /duragen/v1/callback")
    with Person(at_broker.odoo, PORTAL) as person, person.listens() as bus:
        asked = person.submits("a red fox at the broker")
        messages = bus.until(asked["request_uuid"], "completed")
        assert person.http.get(messages[-1]["imageUrl"]).headers["content-type"] == "image/png"
    at_broker.assert_made_once(asked)
    assert log.read_text().count("POST /duragen/v1/callback") == called
    started = at_broker.stack.log_path("rabbitmq").read_text()
    assert asked["correlation_uuid"] in started
    test = at_broker.admin("res.config.settings", "action_duragen_test", [])["params"]
    assert test["type"] == "success", test["message"]
    assert "Outcomes are read from the queue odoo.outcomes." in test["message"]
