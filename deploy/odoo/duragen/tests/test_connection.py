"""The connection test of the settings page: what Duragen says of itself, and its test event."""

import time
import uuid

from odoo.exceptions import AccessError, MissingError
from odoo.tests import tagged

from .common import FULL, DuragenCase, problem

SECRET = "whsec_" + "c2VjcmV0" * 4
REPORT = {
    "missingAttributes": [],
    "createAttributes": "",
    "unservedQueues": [],
    "answered": True,
    "unknownModels": [],
    "callback": {"ok": True, "detail": "200"},
}


@tagged("post_install", "-at_install")
class TestConnection(DuragenCase):
    """A gateway with set answers."""

    @classmethod
    def setUpClass(cls):
        """Images are fetched from somewhere, and one secret is set."""
        super().setUpClass()
        images = {"image_origins": "https://s3.example.com", "s3_bucket": ""}
        cls.set_up(signing_secret=SECRET, outcome_path="callback", **images)

    def _tries(self, **report):
        """What is found, by name, and what the gateway was asked."""
        with self.own_cursors_are_ours(), self.gateway((200, {**REPORT, **report})) as gateway:
            found = self.env["duragen.connection"]._test()
        asked = next(body for _, path, body in gateway.calls if path == "/v1/connection-test")
        return {each["name"]: (each["ok"], each["text"]) for each in found}, asked

    def test_who_took_the_callback_was_not_this_odoo(self):
        """All else is well: one call, with the ids of the active models and the address."""
        self.cheap.active = False
        found, asked = self._tries()
        self.assertIn("it was not this Odoo", found["Test callback"][1])
        self.assertEqual([name for name, (ok, _) in found.items() if not ok], ["Test callback"])
        names = ["Start", "Workers", "Models", "Outcome", "Test callback", "Image store"]
        self.assertEqual(list(found), names)
        self.assertEqual(asked["callbackUrl"], "https://odoo.example/duragen/v1/callback")
        self.assertIn(FULL, asked["modelIds"])
        self.assertNotIn(self.cheap.model_uuid, asked["modelIds"])

    def test_no_worker(self):
        """It is red, says the command, and what could not be tried is neither red nor green."""
        nothing = {"answered": False, "callback": {"ok": None, "detail": ""}}
        found, _ = self._tries(unservedQueues=["generation"], **nothing)
        self.assertFalse(found["Workers"][0])
        self.assertIn("No worker polls generation: start `duragen worker`", found["Workers"][1])
        self.assertEqual([found["Models"][0], found["Test callback"][0]], [None, None])
        found, _ = self._tries(**nothing)
        self.assertIn("No worker answered", found["Workers"][1])

    def test_somebody_elses_temporal(self):
        """What is missing, and the command that adds it."""
        missing = {"missingAttributes": ["RequestId"], "createAttributes": "temporal operator …"}
        found, _ = self._tries(**missing, answered=False, callback={"ok": None, "detail": ""})
        self.assertFalse(found["Workers"][0])
        self.assertIn("lacks the search attributes RequestId", found["Workers"][1])
        self.assertIn("temporal operator …", found["Workers"][1])

    def test_an_unknown_model(self):
        """By its name here, and its id, however that is spelt."""
        model = self.env["duragen.ai.model"].search([("model_uuid", "=", FULL)])
        model.model_uuid = FULL.upper()
        self.assertFalse(self._tries(unknownModels=[FULL.lower()])[0]["Models"][0])
        model.model_uuid = FULL
        found, _ = self._tries(unknownModels=[FULL])
        self.assertFalse(found["Models"][0])
        self.assertIn(f"Full ({FULL})", found["Models"][1])

    def test_no_model(self):
        """Nobody could ask for an image."""
        self.env["duragen.ai.model"].search([]).active = False
        self.assertFalse(self._tries()[0]["Models"][0])

    def test_the_callback_fails(self):
        """Odoo's answer is quoted, with what to compare."""
        found, _ = self._tries(callback={"ok": False, "detail": "answered 401"})
        self.assertFalse(found["Test callback"][0])
        self.assertIn("failed: answered 401. Compare", found["Test callback"][1])

    def test_outcomes_from_rabbitmq_are_not_tried(self):
        """No callback is asked for, and the page says so."""
        self.set_up(outcome_path="rabbitmq", rabbitmq_url="")
        found, asked = self._tries(callback={"ok": None, "detail": ""})
        self.assertNotIn("callbackUrl", asked)
        self.assertFalse(found["Outcome"][0])  # there is no broker
        self.assertNotIn("Test callback", found)
        said = self.env["duragen.connection"]._said_of_callback(REPORT, called=False)
        self.assertEqual(said[0], None)

    def test_no_secret_means_no_call(self):
        """Every callback would be refused."""
        self.set_up(signing_secret="", callback_token="")
        found, asked = self._tries(callback={"ok": None, "detail": ""})
        self.assertNotIn("callbackUrl", asked)
        self.assertFalse(found["Outcome"][0])

    def test_an_answer_that_is_no_report(self):
        """An older gateway, or none: it is said at the start path."""
        answers = [(200, {}), (200, {**REPORT, "callback": 7}), (200, {**REPORT, "answered": 1})]
        for answer in [*answers, problem(404, "no_such_path", "no"), problem(401, "x", "no")]:
            with self.subTest(answer), self.own_cursors_are_ours(), self.gateway(answer):
                [start, *_] = self.env["duragen.connection"]._test()
                self.assertEqual((start["name"], start["ok"]), ("Start", False))

    def test_the_test_event_is_taken_once(self):
        """It changes no request; a second one, a late one and a stranger's are refused."""
        connection, requests = self.env["duragen.connection"], self.requests
        before = requests.search_count([])
        expected = str(uuid.uuid4())
        with self.own_cursors_are_ours():
            connection._expect_test(expected)
        event = {"requestId": expected, "correlationId": str(uuid.uuid4()), "status": "test"}
        with self.assertRaises(AccessError):
            requests.with_user(self.anna).sudo(False).apply_event(event)
        gateway = requests.with_user(self.gateway_user).sudo(False)
        tested = {"status": "tested", "requestId": expected}
        self.assertEqual(gateway.apply_event(event), tested)
        late = str(uuid.uuid4())
        with self.own_cursors_are_ours():
            connection._expect_test(late)
        self.env.cr.execute(
            "UPDATE ir_config_parameter SET value = %s WHERE key = %s",
            [str(int(time.time()) - 1), f"duragen.connection_test.{late}"],
        )
        for refused in (expected, late, str(uuid.uuid4())):
            with self.assertRaises(MissingError):
                gateway.apply_event({**event, "requestId": refused})
        self.assertEqual(requests.search_count([]), before)

    def test_old_expectations_are_forgotten(self):
        """The next test deletes them."""
        connection = self.env["duragen.connection"]
        old, new = str(uuid.uuid4()), str(uuid.uuid4())
        like = [("key", "like", "duragen.connection_test.")]
        with self.own_cursors_are_ours():
            connection._expect_test(old)
            self.env.cr.execute(
                "UPDATE ir_config_parameter SET value = '1' WHERE key = %s",
                [f"duragen.connection_test.{old}"],
            )
            connection._expect_test(new)
        found = self.env["ir.config_parameter"].search(like).mapped("key")
        self.assertEqual(found, [f"duragen.connection_test.{new}"])
