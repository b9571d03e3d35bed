"""The policy `after_warning`: a user's first error within a day is free, the next is charged."""

from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from .common import CLOSED, CREDITS, PAID, REFUSED, TAKEN_BACK, DuragenCase

FREE, CHARGED = [("reserve", -2), ("release", 2)], [("reserve", -2), ("capture", 0)]
UNNAMED = {"status": "failed", "errorMessage": "?", "errorCode": "NEW", "isUserError": True}


@tagged("post_install", "-at_install")
class TestAfterWarning(DuragenCase):
    """Who is warned, who pays, and what they read. spec: error-handling.sequence, 9."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.set_up(user_errors="after_warning")

    def _fails(self, outcome=REFUSED, user=None, request=None):
        made = request or self.asks(user)
        self.assertEqual(self.deliver(self.failed(made, outcome)), "applied")
        return made

    def _hours_ago(self, made, hours):
        made.ended_at = fields.Datetime.now() - timedelta(hours=hours)

    def test_the_first_is_free_and_the_next_is_charged(self):
        """Each says so; the third is charged as the second."""
        first, second, third = (self._fails() for _ in range(3))
        self.assertEqual(self.booked(first), FREE)
        self.assertIn("This request was free.", first.friendly_message)
        self.assertIn("within 24 hours", first.friendly_message)
        for made in (second, third):
            self.assertEqual(self.booked(made), CHARGED)
            self.assertIn("was charged (credits: 2)", made.friendly_message)
        self.assertEqual([each.charged for each in (first, second, third)], [False, True, True])
        self.assertEqual(self.balance(), CREDITS - 4)
        self.assert_ledger()

    def test_a_warning_holds_for_a_day(self):
        """It counts from the end of the request, not from when it was asked for."""
        first, second = self._fails(), self.asks()
        self._hours_ago(first, 24)
        self.assertEqual(self.booked(self._fails(request=second)), FREE)
        self._hours_ago(second, 23.9)
        second.requested_at = fields.Datetime.now() - timedelta(hours=30)
        third = self._fails()
        self.assertEqual(self.booked(third), CHARGED)
        # What was charged is no less of a warning for the next one.
        self._hours_ago(second, 25)
        self.assertEqual(self.booked(self._fails()), CHARGED)

    def test_each_user_has_his_own_warning(self):
        """In all companies that he works in: one warning a day in all."""
        self._fails()
        self.assertEqual(self.booked(self._fails(user=self.bert)), FREE)
        elsewhere = self.env["res.company"].create({"name": "Elsewhere"})
        self.anna.company_ids |= elsewhere
        wizard = self.env["duragen.grant.credits"].with_context(
            allowed_company_ids=[self.env.company.id, elsewhere.id]
        )
        granted = {"user_id": self.anna.id, "company_id": elsewhere.id, "credits": 5}
        wizard.create(granted).action_grant()
        there = self.requests.with_user(self.anna).sudo(False).with_company(elsewhere)
        made = there.submit_generation({"prompt": "a fox", "model_id": self.cheap.id}).sudo()
        self.assertEqual(self.booked(self._fails(request=made)), CHARGED)

    def test_a_repeat_changes_nothing(self):
        """The free one stays free, though by then its user has been warned."""
        for booked in (FREE, CHARGED):
            made = self._fails()
            made.invalidate_recordset()
            before = made.read()[0], self.balance()
            self.assertEqual(self.deliver(self.failed(made, REFUSED)), "repeated")
            made.invalidate_recordset()
            self.assertEqual((made.read()[0], self.balance()), before)
            self.assertEqual(self.booked(made), booked)

    def test_what_is_no_error_of_the_user(self):
        """A cancellation, his or an operator's, and our fault: free, and no warning."""
        for outcome, canceled in ((TAKEN_BACK, True), (PAID, False), (CLOSED, False)):
            with self.subTest(outcome=outcome["errorCode"], canceled=canceled):
                made = self.asks()
                if canceled:
                    made.with_user(self.anna).action_cancel()
                self._fails(outcome, request=made)
                self.assertEqual((self.booked(made), made.user_error), (FREE, False))
                self.assertNotIn("24 hours", made.friendly_message)
        self.assertEqual(self.booked(self._fails()), FREE)

    def test_who_was_not_warned_does_not_pay(self):
        """Errors under another policy, before the setting was changed, are no warning."""
        for policy in ("release", "capture"):
            self.set_up(user_errors=policy)
            self._fails()
        self.set_up(user_errors="after_warning")
        self.assertEqual(self.booked(self._fails()), FREE)

    def test_an_image_after_all_takes_the_warning_back(self):
        """Operators ran it again: its prompt was sound."""
        made = self._fails()
        self.deliver(self.completed(made))
        self.assertFalse(made.user_error)
        self.assertEqual(self.booked(self._fails()), FREE)
        self.assert_ledger()

    def test_the_texts_do_not_contradict_each_other(self):
        """An unknown code must not say that nothing was charged when it was."""
        self._fails()
        made = self._fails(UNNAMED)
        self.assertEqual(self.booked(made), CHARGED)
        self.assertIn("review your prompt", made.friendly_message)
        self.assertNotIn("Nothing was charged", made.friendly_message)

    def test_the_portal_and_the_api_say_it(self):
        """Wherever the message of the failure is shown."""
        made = self._fails()
        self.assertIn("This request was free.", made.friendly_message)

    def test_two_outcomes_of_one_user_take_turns(self):
        """The later one meets a new version of the row, so PostgreSQL lets it see the first.

        A lock alone would let it go on with its old view. Nothing else writes the row of an account
        when the price is 0.
        """
        self.cheap.price = 0
        made = self.asks()
        self.env.flush_all()
        version = "SELECT min(ctid::text) FROM duragen_account WHERE user_id = %s"
        self.env.cr.execute(version, [self.anna.id])
        before = self.env.cr.fetchone()
        self._fails(request=made)
        self.env.flush_all()
        self.env.cr.execute(version, [self.anna.id])
        self.assertNotEqual(self.env.cr.fetchone(), before)
