"""Webhooks of API users: who hears what, who may do what, and what Duragen is answered."""

import json
import uuid
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from ..exceptions import ConflictError
from ..models.webhook_endpoint import MOST_ENDPOINTS
from ..signatures import check_message
from .common import REFUSED, DuragenCase

URL = "https://receiver.example/hook"


class WebhookCase(DuragenCase):
    """Anna has an endpoint that hears of everything."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.endpoint = self._endpoint(on_started=True)

    def _endpoint(self, user=None, **vals):
        endpoints = self.env["duragen.webhook.endpoint"].with_user(user or self.anna).sudo(False)
        return endpoints.create({"url": URL, **vals})

    def _deliveries(self, endpoint=None):
        which = [("endpoint_id", "=", (endpoint or self.endpoint).id)]
        return self.env["duragen.webhook.delivery"].sudo().search(which, order="id")

    @property
    def _all(self):
        return self.env["duragen.webhook.delivery"].sudo()

    def _report(self, delivery, end, attempt=1, **more):
        self._all._reported(delivery.delivery_uuid, attempt, {"end": end, **more})


@tagged("post_install", "-at_install")
class TestWebhookEvents(WebhookCase):
    """What becomes a delivery, and what is in it."""

    def test_each_event_once(self):
        """Started, completed; an outcome that comes twice is heard of once."""
        made = self.asks()
        made._started()
        for _ in range(2):
            self.deliver(self.completed(made))
        events = self._deliveries().mapped("event")
        self.assertEqual(events, ["generation.started", "generation.completed"])
        self.asks(self.bert)._started()
        self.assertEqual(len(self._deliveries()), 2)

    def test_only_what_is_wanted(self):
        """And nothing while it is switched off."""
        self.endpoint.write({"on_started": False, "on_failed": False})
        for outcome, expected in ((REFUSED, 0), (None, 0)):
            made = self.asks()
            made._started()
            self.deliver(self.failed(made, outcome))
            self.assertEqual(len(self._deliveries()), expected)
        self.endpoint.enabled = False
        self.deliver(self.completed(self.asks()))
        self.assertFalse(self._deliveries())
        self.endpoint.enabled = True
        self.deliver(self.completed(self.asks()))
        self.assertEqual(self._deliveries().mapped("event"), ["generation.completed"])

    def test_what_is_sent(self):
        """The whole job or its id and status, signed; the event stays what it was."""
        made = self.asks()
        made._started()
        self.deliver(self.completed(made))
        started, completed = self._deliveries()
        for delivery, status in ((started, "processing"), (completed, "completed")):
            sent = self._all._prepared(delivery.delivery_uuid)
            self.assertEqual(sent["url"], URL)
            check_message(sent["headers"], sent["body"].encode(), [self.endpoint.sudo().secret])
            self.assertEqual(sent["headers"]["webhook-id"], delivery.message_code)
            body = json.loads(sent["body"])
            self.assertEqual((body["type"], body["data"]["status"]), (delivery.event, status))
            self.assertEqual(body["data"]["prompt"], made.prompt)
        self.endpoint.payload = "thin"
        body = json.loads(self._all._prepared(completed.delivery_uuid)["body"])
        self.assertEqual(body["data"], {"jobId": made.request_uuid, "status": "completed"})

    def test_what_was_erased_is_not_sent(self):
        """The words are gone, also from what waits."""
        made = self.asks()
        self.deliver(self.completed(made))
        made.with_user(self.manager).sudo(False).action_erase_words()
        for delivery in self._deliveries():
            self.assertNotIn("fox", self._all._prepared(delivery.delivery_uuid)["body"])

    def test_what_is_switched_off_or_gone_is_dropped(self):
        """Duragen asks before each attempt."""
        self.endpoint.action_test()
        delivery = self._deliveries()
        self.endpoint.enabled = False
        self.assertIn("drop", self._all._prepared(delivery.delivery_uuid))
        self.assertEqual(delivery.state, "dropped")
        number = delivery.delivery_uuid
        self.endpoint.unlink()
        for wrong in (number, str(uuid.uuid4()), "", "x", "%"):
            self.assertIn("drop", self._all._prepared(wrong))

    def test_two_secrets_sign_for_a_day(self):
        """Then the new one alone."""
        old = self.endpoint.sudo().secret
        self.endpoint.action_rotate()
        new = self.endpoint.sudo().secret
        self.assertNotEqual(old, new)
        self.assertEqual(self.endpoint._secrets(), [new, old])
        self.endpoint.sudo().previous_until = fields.Datetime.now() - timedelta(seconds=1)
        self.assertEqual(self.endpoint._secrets(), [new])


@tagged("post_install", "-at_install")
class TestWebhookReports(WebhookCase):
    """What came of an attempt."""

    def setUp(self):
        """One delivery."""
        super().setUp()
        self.endpoint.action_test()
        self.delivery = self._deliveries()

    def test_what_is_noted(self):
        """The last attempt; an older report that comes late changes nothing."""
        self._report(self.delivery, "failed", 1, status=500, milliseconds=12, answer="oops")
        self.assertEqual((self.delivery.state, self.delivery.attempts), ("sending", 1))
        self.assertEqual((self.delivery.last_status, self.delivery.last_answer), (500, "oops"))
        self.assertTrue(self.endpoint.failing_since)
        self._report(self.delivery, "delivered", 2, status=204)
        self._report(self.delivery, "failed", 1, status=500)
        self.assertEqual((self.delivery.state, self.delivery.last_status), ("delivered", 204))
        self.assertFalse(self.endpoint.failing_since)

    def test_after_the_last_attempt_it_has_failed(self):
        """There are eight."""
        self._report(self.delivery, "failed", 7)
        self.assertEqual(self.delivery.state, "sending")
        self._report(self.delivery, "failed", 8)
        self.assertEqual(self.delivery.state, "failed")

    def test_gone_switches_it_off(self):
        """And its user is informed."""
        self.anna.email = "anna@example.com"
        mails = self.env["mail.mail"].sudo()
        before = mails.search_count([])
        self._report(self.delivery, "gone", status=410)
        self.assertEqual((self.endpoint.enabled, self.endpoint.disabled_why), (False, "gone"))
        [mail] = mails.search([], limit=mails.search_count([]) - before)
        self.assertEqual(mail.email_to, "anna@example.com")
        self.assertIn(URL, mail.body_html)

    def test_five_days_of_failures_switch_it_off(self):
        """Not four, and not when one came through."""
        self._report(self.delivery, "failed", 1)
        self.endpoint.sudo().failing_since = fields.Datetime.now() - timedelta(days=4, hours=23)
        self._report(self.delivery, "failed", 2)
        self.assertTrue(self.endpoint.enabled)
        self.endpoint.sudo().failing_since = fields.Datetime.now() - timedelta(days=5, minutes=1)
        self._report(self.delivery, "failed", 3)
        self.assertTrue(self.endpoint.enabled, "before its last attempt")
        self._report(self.delivery, "failed", 8)
        self.assertEqual((self.endpoint.enabled, self.endpoint.disabled_why), (False, "failing"))

    def test_old_ones_are_deleted(self):
        """After a month."""
        self._report(self.delivery, "delivered")
        self._all._gc_old()
        self.assertTrue(self.delivery.exists())
        self.env.cr.execute(
            "UPDATE duragen_webhook_delivery SET create_date = create_date - interval '31 days'"
        )
        self.env.invalidate_all()
        self._all._gc_old()
        self.assertFalse(self.delivery.exists())


@tagged("post_install", "-at_install")
class TestWebhookRights(WebhookCase):
    """Each user's are his own."""

    def test_others_do_not_see_them(self):
        """A manager sees, and may change nothing; nobody but administrators reads the secret."""
        seen = self.env["duragen.webhook.endpoint"].with_user(self.bert).sudo(False).search([])
        self.assertNotIn(self.endpoint, seen)
        managed = self.endpoint.with_user(self.manager).sudo(False)
        self.assertEqual(managed.url, URL)
        for forbidden in (
            lambda: managed.write({"url": "https://evil.example"}),
            managed.unlink,
            managed.action_rotate,
            managed.action_show_secret,
            managed.action_test,
            lambda: managed.secret,
            lambda: self.endpoint.with_user(self.anna).sudo(False).secret,
            lambda: self.endpoint.with_user(self.bert).sudo(False).url,
        ):
            with self.assertRaises(AccessError):
                forbidden()
        shown = self.endpoint.with_user(self.anna).sudo(False).action_show_secret()
        self.assertEqual(shown["params"]["message"], self.endpoint.sudo().secret)

    def test_what_is_ours_to_set(self):
        """Owner, secret and why it is off."""
        for vals in (
            {"user_id": self.bert.id},
            {"secret": "x"},
            {"disabled_why": False},
            {"failing_since": False},
            {"webhook_code": "x"},
        ):
            with self.subTest(vals=vals):
                with self.assertRaises(AccessError):
                    self.endpoint.with_user(self.anna).sudo(False).write(vals)
                with self.assertRaises(AccessError):
                    self._endpoint(**vals)

    def test_what_is_no_address(self):
        """Refused, in words."""
        for url in ("x", "ftp://a.example", "https://a:b@c.example", "https://", "https://a b", ""):
            with self.subTest(url=url), self.assertRaises(ValidationError):
                self._endpoint(url=url)

    def test_context_and_defaults_choose_nothing(self):
        """Neither what Odoo takes from a caller's context, nor from his own defaults."""
        secret = self.asks(self.bert)
        line = {"event": "generation.completed", "message_code": "m", "request_id": secret.id}
        mine = {
            "default_delivery_ids": [(0, 0, line)],
            "default_public_id": "x" * 100,
            "default_secret": "whsec_mine",
            "default_failing_since": "2020-01-01 00:00:00",
            "default_state": "delivered",
            "default_delivery_uuid": "mine",
            "default_request_id": secret.id,
        }
        self.env["ir.default"].with_user(self.anna).sudo(False).set(
            "duragen.webhook.endpoint", "disabled_why", "gone", user_id=True
        )
        endpoints = self.env["duragen.webhook.endpoint"].with_user(self.anna).sudo(False)
        made = endpoints.with_context(**mine).create({"url": URL})
        self.assertFalse(self._deliveries(made))
        self.assertEqual(len(made.webhook_code), 36)
        self.assertNotEqual(made.sudo().secret, "whsec_mine")
        self.assertFalse(made.failing_since or made.disabled_why)
        made.action_test()
        sent = self._deliveries(made)
        self.assertEqual((sent.state, sent.request_id), ("waiting", self.requests))
        self.assertEqual(len(sent.delivery_uuid), 36)

    def test_nobody_hears_of_anothers(self):
        """Also where a row says otherwise; and a user who is gone hears nothing more."""
        made = self.asks(self.bert)
        delivery = self._all._written(self.endpoint, [("generation.completed", made, "m")])
        body = json.loads(self._all._prepared(delivery.delivery_uuid)["body"])
        self.assertEqual(body["data"], {})
        self.anna.active = False
        self.assertIn("drop", self._all._prepared(delivery.delivery_uuid))

    def test_ten_at_most(self):
        """Of each user."""
        for _ in range(MOST_ENDPOINTS - 1):
            self._endpoint()
        with self.assertRaises(ConflictError):
            self._endpoint()
        self._endpoint(self.bert)

    def test_one_that_is_off_sends_nothing_again(self):
        """It must be switched on first."""
        self.endpoint.action_test()
        self.endpoint.enabled = False
        with self.assertRaises(UserError):
            self._deliveries().action_redeliver()
        with self.assertRaises(UserError):
            self.endpoint.action_test()


@tagged("post_install", "-at_install")
class TestWebhookStarts(WebhookCase):
    """On the way to Duragen: after the commit, and by the outbox."""

    def test_the_outbox_hands_over_what_waits(self):
        """Once; and what Duragen does not take waits."""
        self.endpoint.action_test()
        delivery = self._deliveries()
        with self.own_cursors_are_ours():
            delivery._run_outbox(60)
        self.assertEqual(delivery.state, "waiting")
        self.assertGreater(delivery.next_start_at, fields.Datetime.now())
        delivery.next_start_at = fields.Datetime.now()
        with self.gateway() as server, self.own_cursors_are_ours():
            delivery._run_outbox(60)
            delivery._run_outbox(60)
        self.assertEqual(delivery.state, "sending")
        [(_, path, body)] = server.calls
        self.assertEqual(path, "/v1/webhook-deliveries")
        self.assertEqual(body["deliveryId"], delivery.delivery_uuid)
        self.assertEqual(body["source"], "https://odoo.example/duragen/v1/webhooks")
        self.assertEqual(body["receiver"], self.endpoint.webhook_code)


@tagged("post_install", "-at_install")
class TestWebhookApi(WebhookCase):
    """By a key, as the gateway calls it."""

    def setUp(self):
        """A key of Anna's."""
        super().setUp()
        self.api = self.env["duragen.api"].with_user(self.gateway_user).sudo(False)
        keys = self.env["res.users.apikeys"].with_user(self.anna).sudo()
        self.key = keys._generate("duragen", "a test", None)

    def test_from_new_to_deleted(self):
        """The secret is in two answers alone."""
        made = self.api.webhook_create(self.key, {"url": URL, "events": ["generation.failed"]})
        self.assertTrue(made["secret"].startswith("whsec_"))
        self.assertEqual(made["events"], ["generation.failed"])
        listed = self.api.webhook_list(self.key)["webhooks"]
        self.assertEqual([each["id"] for each in listed][:1], [made["id"]])
        self.assertNotIn("secret", listed[0])
        changed = self.api.webhook_update(self.key, made["id"], {"payload": "thin"})
        self.assertEqual((changed["payload"], changed["url"]), ("thin", URL))
        rotated = self.api.webhook_rotate(self.key, made["id"])
        self.assertNotEqual(rotated["secret"], made["secret"])
        again = self.api.webhook_rotate(self.key, made["id"])
        self.assertEqual(again["secret"], rotated["secret"])
        self.assertEqual(self.api.webhook_delete(self.key, made["id"])["id"], made["id"])
        self.assertEqual(self.api.webhook_get(self.key, made["id"])["httpStatus"], 404)

    def test_deliveries_page_by_page(self):
        """The newest first; one of them, or all since a moment, are sent again."""
        which = self.endpoint.webhook_code
        made = [self.api.webhook_test(self.key, which)["id"] for _ in range(3)]
        page = self.api.webhook_deliveries(self.key, which, {"limit": 2})
        self.assertEqual([each["id"] for each in page["deliveries"]], made[:0:-1])
        page = self.api.webhook_deliveries(self.key, which, {"after": page["next"]})
        self.assertEqual(([e["id"] for e in page["deliveries"]], page["next"]), (made[:1], None))
        first = self._deliveries()[0]
        answer = self.api.webhook_redeliver(self.key, which, {"delivery": made[0]})
        self.assertEqual(answer["count"], 1)
        again = self._deliveries()[-1]
        self.assertEqual(again.message_code, first.message_code)
        self._deliveries().write({"state": "delivered"})
        since = {"since": "2026-01-01T00:00:00Z"}
        self.assertEqual(self.api.webhook_redeliver(self.key, which, since)["count"], 3)
        # Their answer was lost, and they are asked for again: they are on their way.
        self.assertEqual(self.api.webhook_redeliver(self.key, which, since)["count"], 0)

    def test_what_is_wrong(self):
        """404 for another's; 422 names the field."""
        of_bert = self._endpoint(self.bert).webhook_code
        for wrong in (of_bert, str(uuid.uuid4()), "x", None, 7):
            for call in (
                lambda w=wrong: self.api.webhook_get(self.key, w),
                lambda w=wrong: self.api.webhook_update(self.key, w, {}),
                lambda w=wrong: self.api.webhook_delete(self.key, w),
                lambda w=wrong: self.api.webhook_rotate(self.key, w),
                lambda w=wrong: self.api.webhook_test(self.key, w),
                lambda w=wrong: self.api.webhook_deliveries(self.key, w),
                lambda w=wrong: self.api.webhook_redeliver(self.key, w, {}),
            ):
                self.assertEqual(call()["httpStatus"], 404)
        for name, wrongs in {
            "url": (None, 7, "x", "x" * 3_000),
            "description": (7, "x" * 201),
            "events": ("x", ["x"], [7], {}),
            "payload": ("x", 7, True),
            "enabled": ("x", 1, 0, None),
        }.items():
            for wrong in wrongs:
                with self.subTest(name=name, wrong=str(wrong)[:20]):
                    answer = self.api.webhook_create(self.key, {"url": URL, name: wrong})
                    self.assertEqual(answer["httpStatus"], 422)
                    self.assertIn(name, answer["message"])
