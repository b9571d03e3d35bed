"""News: one notification, email or activity for each outcome, as its user has chosen."""

import json

from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from ..models import generation_follow_up
from .common import PAID, DuragenCase
from .test_erasure import ErasureCase

WORDS = "walrus on a swing"


class NewsCase(DuragenCase):
    """Outcomes, and what follows them."""

    def _ends(self, made, event=None):
        """Deliver it, and run the cron, which is due at once."""
        said = self.deliver(event or self.completed(made))
        with self.own_cursors_are_ours():
            self.requests._cron_follow()
        return said

    def _chooses(self, way, user=None):
        user = user or self.anna
        user.with_user(user).sudo(False).write({"duragen_news": way})

    def _sent(self, made):
        """Kind and recipient of all that was sent of a request."""
        self.env.flush_all()
        about = [("model", "=", made._name), ("res_id", "in", made.ids)]
        messages = self.env["mail.message"].search(about)
        found = [
            (each.notification_type, each.res_partner_id.name) for each in messages.notification_ids
        ]
        return found + [("activity", each.user_id.name) for each in made.activity_ids]

    def _runs(self):
        """How often the cron is due at once."""
        cron = self.env.ref("duragen.cron_follow")
        return self.env["ir.cron.trigger"].sudo().search_count([("cron_id", "=", cron.id)])

    def _popups(self, made):
        self.env.cr.precommit.run()
        sent = self.env["bus.bus"].sudo().search([("message", "like", "simple_notification")])
        found = [json.loads(each.message)["payload"] for each in sent]
        return [each["title"] for each in found if each.get("request") == made.request_uuid]


@tagged("post_install", "-at_install")
class TestNews(NewsCase):
    """Who hears what, and how."""

    def test_as_the_user_has_chosen(self):
        """Each way, for an image and for a failure."""
        name = self.anna.partner_id.name
        for way, sent in {
            "none": [],
            "inbox": [("inbox", name)],
            "email": [("email", name)],
            "activity": [("activity", self.anna.name)],
        }.items():
            self._chooses(way)
            for event in (self.completed, self.failed):
                with self.subTest(way=way, event=event.__name__):
                    made = self.asks()
                    self.grant(self.anna, made.price)
                    self._ends(made, event(made))
                    self.assertEqual(self._sent(made), sent)
                    self.assertFalse(made.news_waits)

    def test_a_popup_comes_with_the_notification(self):
        """It is seen by those who get Odoo's notifications by email, too."""
        made = self.asks()
        self._ends(made)
        self.assertEqual(self._popups(made), ["Your image is ready"])

    def test_whoever_has_not_chosen(self):
        """An internal user gets a notification; a portal user, who watches the page, nothing."""
        guest = new_test_user(self.env, "core_guest", "base.group_portal")
        self.assertEqual(self.anna._duragen_news(), "inbox")
        self.assertEqual(guest._duragen_news(), "none")
        made = self.asks(guest)
        self._ends(made)
        self.assertEqual(self._sent(made), [])

    def test_a_portal_user_gets_an_email_or_nothing(self):
        """There is no other place for it; the link in it leads to the portal."""
        guest = new_test_user(self.env, "core_guest", "base.group_portal", email="g@example.com")
        values = [value for value, _label in guest._duragen_news_choices()]
        self.assertEqual(values, ["none", "email"])
        self.assertEqual(len(self.anna._duragen_news_choices()), 4)
        self._chooses("activity", guest)
        self.assertEqual(guest._duragen_news(), "none")
        self._chooses("email", guest)
        made = self.asks(guest)
        self._ends(made)
        self.assertEqual(self._sent(made), [("email", guest.partner_id.name)])
        message = self.env["mail.message"].search(
            [("res_id", "=", made.id), ("model", "=", made._name)]
        )
        self.assertIn(f"/my/images/{made.id}", message.body)

    def test_a_user_chooses_for_himself_alone(self):
        """As with Odoo's other preferences."""
        with self.assertRaises(AccessError):
            self.bert.with_user(self.anna).sudo(False).write({"duragen_news": "none"})

    def test_once_for_each_outcome(self):
        """A repeated event sends nothing; an image after a failure does."""
        made = self.asks()
        self._ends(made, self.failed(made))
        self.assertEqual(self._ends(made, self.failed(made)), "repeated")
        self.assertEqual(len(self._sent(made)), 1)
        self._ends(made)
        self.assertEqual(len(self._sent(made)), 2)

    def test_it_is_left_to_the_cron_which_is_due_at_once(self):
        """Duragen waits for the callback, and not for Odoo's mail; nothing to do is no run."""
        for way, more in (("inbox", 1), ("none", 0)):
            self._chooses(way)
            made = self.asks()
            before = self._runs()
            self.deliver(self.completed(made))
            with self.subTest(way=way):
                self.assertEqual(self._sent(made), [])
                self.assertEqual(self._runs(), before + more)

    def test_a_run_is_bounded(self):
        """What is left follows in another one, at once."""
        self.patch(generation_follow_up, "BATCH", 2)
        many = self.requests.union(*(self.asks() for _ in range(3)))
        for made in many:
            self.deliver(self.completed(made))
        for sent, more in ((2, 1), (3, 0)):
            before = self._runs()
            with self.own_cursors_are_ours():
                self.requests._cron_follow()
            self.assertEqual(len(self._sent(many)), sent)
            self.assertEqual(self._runs(), before + more)

    def test_a_run_ends_in_time(self):
        """As above."""
        self.patch(generation_follow_up, "RUN_SECONDS", -1)
        made = self.asks()
        self.deliver(self.completed(made))
        before = self._runs()
        self.requests._cron_follow()
        self.assertEqual((self._sent(made), self._runs()), ([], before + 1))

    def test_what_ended_the_process_is_not_the_first_again(self):
        """It was counted before it began, so the others come first; with the next managers see it.

        While the first one is under way there is nothing to see: it may be well.
        """
        deadly, other = self.asks(), self.asks()
        self.deliver(self.completed(deadly))
        self.assertTrue(deadly._claim_follow("news_waits"))  # and here the process died
        self.assertFalse(deadly.follow_error)
        self._ends(other)
        self.assertEqual((self._sent(deadly), len(self._sent(other))), ([], 1))
        self.assertTrue(deadly._claim_follow("news_waits"))
        self.assertIn("did not come back", deadly.follow_error)
        deadly.with_user(self.manager).sudo(False).action_follow_up()
        with self.own_cursors_are_ours():
            self.requests._cron_follow()
        self.assertEqual(len(self._sent(deadly)), 1)
        self.assertFalse(deadly.follow_error)

    def test_not_of_what_came_by_the_api_nor_what_one_canceled(self):
        """The caller of the API has webhooks; who cancels knows it."""
        by_api = self.asks(origin="api")
        canceled = self.asks()
        canceled.with_user(self.anna).sudo(False).action_cancel()
        self._ends(by_api)
        self._ends(canceled, self.failed(canceled, PAID))
        self.assertEqual(self._sent(by_api | canceled), [])

    def test_of_what_a_manager_canceled(self):
        """Its user does not know."""
        made = self.asks()
        made.with_user(self.manager).sudo(False).action_cancel()
        self._ends(made, self.failed(made, PAID))
        self.assertEqual(len(self._sent(made)), 1)

    def test_in_the_language_of_the_user(self):
        """Whatever the language of the one who delivers."""
        self.env["res.lang"]._activate_lang("de_DE")
        self.env["ir.module.module"].search([("name", "=", "duragen")])._update_translations(
            "de_DE"
        )
        self.anna.lang = "de_DE"
        made = self.asks()
        self._ends(made)
        message = self.env["mail.message"].search(
            [("res_id", "=", made.id), ("model", "=", made._name)]
        )
        german = made.with_context(lang="de_DE")._news_title()
        self.assertEqual(message.subject, german)

    def test_a_fault_in_it_leaves_the_outcome(self):
        """It is noted for managers, and tried again; the image and the ledger stand."""
        made = self.asks()
        self.env.flush_all()
        self.env.cr.execute(
            "ALTER TABLE mail_message ADD CONSTRAINT in_the_way CHECK"
            f" (model != '{made._name}' OR res_id != {made.id}) NOT VALID"
        )
        with self.assertLogs("odoo.addons.duragen.models.generation_follow_up", "ERROR"):
            self._ends(made)
        self.assertEqual((made.state, made.charged, made.news_waits), ("completed", True, True))
        self.assertIn("in_the_way", made.follow_error)
        self.env.cr.execute("ALTER TABLE mail_message DROP CONSTRAINT in_the_way")
        first = made.next_follow_at
        made.with_user(self.manager).sudo(False).action_follow_up()
        self.assertLess(made.next_follow_at, first)
        with self.own_cursors_are_ours():
            self.requests._cron_follow()
        self.assertEqual(len(self._sent(made)), 1)
        self.assertFalse(made.news_waits or made.follow_error or made.next_follow_at)

    def test_only_managers_try_again(self):
        """Nor does a user see what went wrong."""
        made = self.asks()
        with self.assertRaises(AccessError):
            made.with_user(self.anna).sudo(False).action_follow_up()
        with self.assertRaises(AccessError):
            made.with_user(self.anna).sudo(False).read(["follow_error"])

    def test_an_activity_can_be_done(self):
        """By the user, in the backend."""
        self._chooses("activity")
        made = self.asks()
        self._ends(made)
        made.activity_ids.with_user(self.anna).sudo(False).action_feedback(feedback="seen")
        self.assertFalse(made.activity_ids)


@tagged("post_install", "-at_install")
class TestErasedNews(NewsCase, ErasureCase):
    """News holds words."""

    def test_it_goes_with_them(self):
        """Messages, emails, activities, popups."""
        for way in ("inbox", "email", "activity"):
            self._chooses(way)
            made = self.asks(prompt=WORDS)
            self._ends(made)
            self.assertIn(
                "mail_activity" if way == "activity" else "mail_message", self._tables(WORDS)
            )
            made.action_erase_words()
            with self.subTest(way=way):
                self.assertEqual(self._sent(made), [])
                self.assertEqual(self._tables(WORDS), set())

    def test_an_activity_that_is_done_goes_too(self):
        """Odoo keeps it, for its statistics."""
        self._chooses("activity")
        made = self.asks(prompt=WORDS)
        self._ends(made)
        made.activity_ids.with_user(self.anna).sudo(False).action_feedback()
        self.assertIn("bus_bus", self._tables(WORDS))
        made.action_erase_words()
        self.assertEqual(self._tables(WORDS), set())

    def test_none_is_sent_of_what_was_erased_before(self):
        """The cron came too late."""
        made = self.asks(prompt=WORDS)
        self.deliver(self.completed(made))
        made.action_erase_words()
        with self.own_cursors_are_ours():
            self.requests._cron_follow()
        self.assertEqual(self._sent(made), [])
