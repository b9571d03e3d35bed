"""RabbitMQ as start path and as delivery path, without a broker; `tests/odoo` has a real one."""

import json
import socket
import time

from odoo.tests import tagged
from odoo.tools import mute_logger

from ..broker import Broker
from ..models.connection import EVENT_KEYS
from ..models.generation_queue import _Taking
from ..starter.client import SetupError, UnavailableError
from .common import CLOSED, UNKNOWN, UNREACHABLE, DuragenCase
from .test_signatures import SECRET, signature

DAY_SECONDS = 86_400
NOBODY = "amqp://user:secret@127.0.0.1:1/%2F"
"""Where no broker listens."""
START, QUEUE = (f"odoo.addons.duragen.models.generation_{name}" for name in ("start", "queue"))


def signed(body):
    """The headers of a message of Duragen's that has waited for a day."""
    stamp = str(int(time.time()) - DAY_SECONDS)
    mac = signature(identity="an id", stamp=stamp, body=body)
    return {"webhook-id": "an id", "webhook-timestamp": stamp, "webhook-signature": mac}


@tagged("post_install", "-at_install")
class TestStartByBroker(DuragenCase):
    """What the outbox and cancellations make of it."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.set_up(start_path="rabbitmq", rabbitmq_url=NOBODY)

    def _starts(self, made):
        made.next_start_at = made.requested_at
        with self.own_cursors_are_ours():
            self.requests._run_outbox()

    @mute_logger(START)
    def test_a_broker_that_is_away_leaves_it_to_the_outbox(self):
        """Nothing was published, so a cancellation ends it at once."""
        made = self.asks()
        self._starts(made)
        self.assertEqual((made.state, made.maybe_published), ("requested", False))
        self.assertIn("RabbitMQ at 127.0.0.1:1 does not answer", made.start_error)
        self.assertNotIn("secret", made.start_error)
        self.taken_back(made)

    @mute_logger(START)
    def test_settings_that_are_wrong_fail_no_request(self):
        """No address, or none of a broker's: all wait until the settings are fixed."""
        made = self.asks()
        for address, words in (("", "not set"), ("http://[", "must be amqps://")):
            with self.subTest(address=address):
                self.set_up(rabbitmq_url=address)
                self._starts(made)
                self.assertEqual((made.state, made.maybe_published), ("requested", False))
                self.assertIn(words, made.start_error)

    @mute_logger(START)
    def test_what_the_broker_may_have_is_not_canceled_behind_its_back(self):
        """Duragen does not know it yet; it would be made, and paid for, after it was released."""
        made = self.asks()
        made.maybe_published = True
        made.action_cancel()
        with self.gateway(UNKNOWN):
            self._starts(made)
        self.assertEqual((made.state, made.start_attempts), ("requested", 1))
        self.assertEqual(self.booked(made), [("reserve", -2)])

    def test_a_cancellation_waits_until_duragen_has_read_the_request(self):
        """It asks every minute; once Duragen knows it, it is canceled there."""
        made = self.asks()
        made.write({"state": "started", "maybe_published": True})
        made.action_cancel()
        with self.gateway(UNKNOWN, (202, None)) as gateway:
            self.assertTrue(made._pass_cancel())
            self.assertEqual(made.state, "started")
            self.assertTrue(made.next_start_at)
            self.assertTrue(made._pass_cancel())
        self.assertFalse(made.next_start_at)
        self.assertEqual([call[0] for call in gateway.calls], ["DELETE", "DELETE"])

    def test_reconciliation_publishes_it_again_and_never_cancels(self):
        """Whether it waits at the broker or was lost there; less and less often."""
        made = self.asks()
        where = self.env["duragen.connection"]._target()
        made.write({"state": "started", "maybe_published": True, "started_where": where})
        made.cancel_requested = True
        for attempt in (1, 2, 3, 4):
            made._unknown_to_duragen()
            self.assertEqual((made.state, made.check_attempts), ("requested", attempt))
            self.assertEqual("deadletters" in made.progress_note, attempt == 4)
            made._started()
            pause = (made.next_check_at - made.started_at).total_seconds() / 60
            self.assertGreater(pause, min(15 * 2**attempt, 60) - 1)

    def test_what_is_published_again_has_the_address_that_is_set_by_now(self):
        """A wrong one makes a dead letter of it at Duragen, of which Odoo does not hear."""
        made = self.asks()
        where = self.env["duragen.connection"]._target()
        made.write({"state": "started", "maybe_published": True, "started_where": where})
        self.set_up(callback_base_url="https://right.example")
        made._unknown_to_duragen()
        self.assertTrue(made.event["callbackUrl"].startswith("https://right.example/"))


@tagged("post_install", "-at_install")
class TestOutcomeFromBroker(DuragenCase):
    """What becomes of a message."""

    def _takes(self, event, secrets=(SECRET,), headers=None):
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        headers = signed(body) if headers is None else headers
        with self.own_cursors_are_ours():
            return _Taking(self.env.registry, list(secrets)).take(headers, body)

    def test_an_outcome_is_applied_however_old_it_is(self):
        """And once: the second is settled, and changes nothing."""
        made = self.asks()
        for _ in range(2):
            self.assertIs(self._takes(self.failed(made)), True)
            self.assertEqual(made.state, "failed")
            self.assertEqual(self.booked(made), [("reserve", -2), ("release", 2)])

    def test_what_is_for_another_odoo_is_passed_over(self):
        """All that listen at an exchange get each outcome; its signature is none of ours."""
        other = {"requestId": "0c3a6f7e-5a0b-4b8e-9a55-3d1f0d8b6c99", **CLOSED}
        for event in (other, {"requestId": 7}, {}):
            with self.subTest(event=event):
                self.assertIs(self._takes(event, headers={}), True)

    @mute_logger(QUEUE)
    def test_what_is_not_duragens_is_refused(self):
        """Unsigned, signed by somebody else, or no JSON object."""
        made = self.asks()
        event = self.failed(made)
        self.assertIs(self._takes(event, headers={}), False)
        for others in (["b3RoZXI=" * 4], []):
            self.assertIs(self._takes(event, secrets=others), False)
        for odd in ({"webhook-signature": 7}, {"webhook-id": None}, {"webhook-timestamp": []}):
            headers = {**signed(json.dumps(event).encode()), **odd}
            self.assertIs(self._takes(event, headers=headers), False)
        for body in (b"", b"[]", b"{", b"\xff", b"7", b"[" * 100_000):
            self.assertIs(self._takes(body), False)
        self.assertEqual(made.state, "requested")

    @mute_logger(QUEUE)
    def test_an_image_that_cannot_be_fetched_now_stays_in_the_queue(self):
        """Without the gateway's address, with a gateway that is away, or that answers nonsense."""
        made = self.asks()
        event = self.completed(made, assetURL="http://somewhere.else.example/image")
        del event["imageData"]
        for address in ("", UNREACHABLE, "ftp://x", "http://["):
            with self.subTest(address=address):
                self.set_up(gateway_url=address)
                self.assertIsNone(self._takes(event))
        for answer in ((503, None), (200, None), (307, None), (401, None)):
            with self.subTest(answer=answer), self.gateway(answer) as gateway:
                self.assertIsNone(self._takes(event))
                [call] = gateway.calls
                self.assertEqual(call[1], f"/v1/generations/{made.request_uuid}/image")
        self.assertEqual(made.state, "requested")

    @mute_logger(QUEUE)
    def test_an_image_that_is_gone_is_refused(self):
        """It would stay in the queue for ever."""
        made = self.asks()
        event = self.completed(made)
        del event["imageData"]
        with self.gateway(UNKNOWN):
            self.assertIs(self._takes(event), False)

    def test_an_image_that_is_there_already_is_not_asked_for(self):
        """Nor one of a request that was erased: the gateway need not know it any more."""
        made, erased = self.asks(), self.asks()
        self.deliver(self.completed(made))
        self.deliver(self.failed(erased))
        erased.action_erase_words()
        for each in (made, erased):
            event = self.completed(each)
            del event["imageData"]
            self.assertIs(self._takes(event), True)

    @mute_logger(QUEUE)
    def test_one_that_waits_for_a_peer_makes_the_next_ones_wait_with_it(self):
        """But for failures, which need no peer."""
        made, other, failed = self.asks(), self.asks(), self.asks()
        taking = _Taking(self.env.registry, [SECRET])
        events = [self.completed(made), self.completed(other), self.failed(failed)]
        self.set_up(gateway_url=UNREACHABLE)
        found = []
        with self.own_cursors_are_ours():
            for event in events:
                event.pop("imageData", None)
                body = json.dumps(event).encode()
                found.append(taking.take(signed(body), body))
        self.assertEqual(found, [None, None, True])
        self.assertEqual(
            [each.state for each in (made, other, failed)], ["requested"] * 2 + ["failed"]
        )


@tagged("post_install", "-at_install")
class TestBroker(DuragenCase):
    """The broker's own errors."""

    def test_a_broker_that_is_away(self):
        """Said without the password."""
        broker = Broker(NOBODY, "ai-generation", "outcomes", EVENT_KEYS)
        for call in (lambda: broker.check(1), lambda: broker.listen(lambda *_: None, 1, 1)):
            with self.assertRaises(UnavailableError) as raised:
                call()
            self.assertNotIn("secret", str(raised.exception))

    def test_a_port_that_says_nothing(self):
        """It fails with a class of pika's that is below none of its others."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"amqp://a:b@127.0.0.1:{listening.getsockname()[1]}/"
            with self.assertRaises(UnavailableError):
                Broker(url, "ai-generation", "outcomes", EVENT_KEYS).check(1)

    def test_no_address_of_a_broker(self):
        """It says how one looks."""
        for url in (
            "",
            "amqp://[",
            "http://127.0.0.1",
            "amqp://h:port/",
            "amqp://u@h/",
            "amqp://a:b@h/?x=1",
        ):
            with self.subTest(url=url), self.assertRaisesRegex(SetupError, "amqps://USER"):
                Broker(url, "ai-generation", "outcomes", EVENT_KEYS).check(1)

    def test_each_database_has_a_queue_of_its_own(self):
        """Two that read one queue would take each other's outcomes off."""
        connection = self.env["duragen.connection"]
        uuid = self.env["ir.config_parameter"].get_param("database.uuid")
        self.assertEqual(connection._outcome_queue(), f"odoo.outcomes.{uuid}")
        self.set_up(rabbitmq_queue="mine")
        self.assertEqual(connection._outcome_queue(), "mine")

    def test_the_test_of_settings(self):
        """It wants a secret, a gateway, which has the links to images, and a broker."""
        connection = self.env["duragen.connection"]
        self.set_up(outcome_path="rabbitmq", rabbitmq_url=NOBODY, callback_token="x" * 20)
        self.assertIn("signing secret", connection._test_outcome()[1])
        self.set_up(signing_secret=SECRET, gateway_url="")
        self.assertIn("gateway's address", connection._test_outcome()[1])
        self.set_up(gateway_url=UNREACHABLE)
        self.assertIn(f"cannot reach {UNREACHABLE}", connection._test_outcome()[1])
        with self.gateway(UNKNOWN):
            self.assertIn("RabbitMQ at 127.0.0.1:1 does not answer", connection._test_outcome()[1])
