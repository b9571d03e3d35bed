"""What a cancellation costs: the credits, and a place of a quota."""

from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from ..exceptions import QuotaError
from .common import CREDITS, PAID, TAKEN_BACK, DuragenCase

FREE, CHARGED = [("reserve", -2), ("release", 2)], [("reserve", -2), ("capture", 0)]
WARNS = "The image service may already be paid for it."


@tagged("post_install", "-at_install")
class TestCancellation(DuragenCase):
    """Free before the image service has the request, and charged after."""

    def _canceled(self, outcome, by=None, **vals):
        """A request that was canceled while Duragen had it, with Duragen's outcome."""
        made = self.asks(**vals)
        made._started()
        made.with_user(by or self.anna).action_cancel()
        self.assertEqual(self.deliver(self.failed(made, outcome)), "applied")
        self.assertEqual(made.state, "canceled")
        return made

    def test_a_deadline_costs_as_a_cancellation(self):
        """The user's own, `cancel_at`: charged when the image service may have been paid."""
        for paid, booked in ((PAID, CHARGED), (TAKEN_BACK, FREE)):
            made = self.asks(cancel_at=fields.Datetime.now() - timedelta(seconds=1))
            self.deliver(self.failed(made, paid))
            self.assertEqual(self.booked(made), booked)
        early = self.asks(cancel_at=fields.Datetime.now() + timedelta(hours=1))
        self.deliver(self.failed(early, PAID))  # an operator's
        self.assertEqual(self.booked(early), FREE)

    def test_what_may_have_been_paid_is_charged(self):
        """Whatever the policy on users' errors is."""
        for policy in ("release", "after_warning", "capture"):
            with self.subTest(policy=policy):
                self.set_up(user_errors=policy)
                made = self._canceled(PAID)
                self.assertEqual(self.booked(made), CHARGED)
                self.assertTrue(made.charged)
                self.assertFalse(made.user_error)
        self.assertEqual(self.balance(), CREDITS - 6)
        self.assert_ledger()

    def test_what_was_not_sent_is_free(self):
        """Whatever the policy on users' errors is; so is what an event says nothing of."""
        unsaid = {name: value for name, value in TAKEN_BACK.items() if name != "mayHaveBeenPaid"}
        for policy in ("release", "after_warning", "capture"):
            for outcome in (TAKEN_BACK, unsaid):
                with self.subTest(policy=policy, outcome=outcome):
                    self.set_up(user_errors=policy)
                    self.assertEqual(self.booked(self._canceled(outcome)), FREE)
        self.assertEqual(self.balance(), CREDITS)

    def test_the_setting_may_make_it_free(self):
        """Then nothing warns of it."""
        self.set_up(user_cancellations="release")
        made = self.asks()
        self.assertFalse(made.with_user(self.anna).cancel_warning)
        made = self._canceled(PAID)
        self.assertEqual(self.booked(made), FREE)
        self.assertNotIn("charged", made.friendly_message)

    def test_what_others_cancel_is_free(self):
        """A manager in Odoo, an operator at Duragen."""
        self.assertEqual(self.booked(self._canceled(PAID, by=self.manager)), FREE)
        made = self.asks()
        self.deliver(self.failed(made, PAID))
        self.assertEqual(self.booked(made), FREE)

    def test_who_cancels_second_changes_nothing(self):
        """The user had asked for it first: he pays; and the other way round."""
        for first, second, booked in (
            (self.anna, self.manager, CHARGED),
            (self.manager, self.anna, FREE),
        ):
            made = self.asks()
            made._started()
            made.with_user(first).action_cancel()
            made.with_user(second).action_cancel()
            self.deliver(self.failed(made, PAID))
            self.assertEqual(self.booked(made), booked)

    def test_it_is_said_before(self):
        """To the one who may cancel it, in the backend's form and on the page, with the figure."""
        made = self.asks()
        for state in ("requested", "started"):
            if state == "started":
                made._started()
            with self.subTest(state=state):
                said = made.with_user(self.anna).cancel_warning
                self.assertIn(WARNS, said)
                self.assertIn("(2)", said)
                self.assertEqual(made.portal_values()["cancelPrice"], 2)
                self.assertFalse(made.with_user(self.manager).cancel_warning)
        made.with_user(self.anna).action_cancel()
        self.assertFalse(made.with_user(self.anna).cancel_warning)
        self.assertEqual(made.portal_values()["cancelPrice"], 0)
        self.assertFalse(self.draft().cancel_warning)

    def test_what_costs_nothing_needs_no_warning(self):
        """The model is free."""
        self.cheap.price = 0
        self.assertFalse(self.asks().with_user(self.anna).cancel_warning)

    def test_it_is_said_after(self):
        """The request says why, on the page too; so does the entry of the ledger."""
        made = self._canceled(PAID)
        self.assertIn("The request was canceled.", made.friendly_message)
        self.assertIn("was charged (credits: 2)", made.friendly_message)
        capture = made.entry_ids.filtered(lambda each: each.kind == "capture")
        self.assertIn("Canceled", capture.note)
        free = self._canceled(TAKEN_BACK)
        self.assertEqual(free.friendly_message, "The request was canceled.")

    def test_it_is_said_in_the_users_language(self):
        """The callback itself has none."""
        self.env["res.lang"]._activate_lang("de_DE")
        self.env["ir.module.module"]._load_module_terms(["duragen"], ["de_DE"])
        self.anna.lang = "de_DE"
        made = self._canceled(PAID)
        capture = made.entry_ids.filtered(lambda each: each.kind == "capture")
        self.assertIn("Abgebrochen", capture.note)
        german = made.with_context(lang="de_DE")
        self.assertIn("berechnet (Credits: 2)", german.friendly_message)

    def test_an_image_that_comes_later_costs_nothing_more(self):
        """Its price was taken with the cancellation."""
        made = self._canceled(PAID)
        self.deliver(self.completed(made))
        self.assertEqual(self.booked(made), CHARGED)
        self.assertEqual(self.balance(), CREDITS - 2)

    def test_asking_again_is_a_submission_of_its_own(self):
        """Both calls were made, so both are paid for."""
        made = self._canceled(PAID)
        opened = made.with_user(self.anna).sudo(False).action_retry()
        again = self.requests.browse(opened["res_id"])
        self.deliver(self.completed(again))
        self.assertEqual(self.balance(), CREDITS - 4)

    def test_reconciliation_charges_as_well(self):
        """Duragen ended it without delivering; what it says of the cost counts."""
        for paid, booked in ((True, CHARGED), (False, FREE)):
            made = self.asks()
            made._started()
            made.with_user(self.anna).action_cancel()
            error = {"code": "CANCELED", "detail": "x", "hint": None, "mayHaveBeenPaid": paid}
            made._reconcile({"state": "abandoned", "image": None, "error": error, "parked": None})
            self.assertEqual((made.state, self.booked(made)), ("canceled", booked))


@tagged("post_install", "-at_install")
class TestQuotaOfCancellations(DuragenCase):
    """A quota counts submissions, so that canceling is no way around it."""

    def setUp(self):
        """Two a day."""
        super().setUp()
        self.env["duragen.quota"].create({"limit": 2, "user_id": self.anna.id})

    def _cancels(self, outcome):
        made = self.asks()
        made._started()
        made.with_user(self.anna).action_cancel()
        self.deliver(self.failed(made, outcome))

    def test_paid_calls_use_it_up(self):
        """Also where cancellations are free, and where the user's errors are."""
        for setting in ("capture", "release"):
            with self.subTest(setting=setting), self.env.cr.savepoint() as savepoint:
                self.set_up(user_cancellations=setting)
                self._cancels(PAID)
                self._cancels(PAID)
                with self.assertRaises(QuotaError):
                    self.asks()
                self.env.flush_all()
                savepoint.rollback()
                self.env.invalidate_all()

    def test_it_counts_while_the_outcome_is_awaited(self):
        """A cancellation frees its place only when it is known that nothing was sent."""
        for _ in range(2):
            made = self.asks()
            made._started()
            made.with_user(self.anna).action_cancel()
        with self.assertRaises(QuotaError):
            self.asks()

    def test_what_was_not_sent_gives_its_place_back(self):
        """However often."""
        for _ in range(5):
            self._cancels(TAKEN_BACK)
        self.assertEqual(self.asks().state, "requested")
