"""What a submission costs its user: credits, and a place of a quota."""

from datetime import timedelta

import psycopg2
from odoo import fields
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..exceptions import CreditsError, QuotaError
from .common import CLOSED, CREDITS, FULL, REFUSED, DuragenCase


@tagged("post_install", "-at_install")
class TestPrice(DuragenCase):
    """Credits are reserved in the transaction that creates the request."""

    def test_the_price_is_reserved(self):
        """And frozen: a later price of the model does not change it."""
        made = self.asks()
        self.cheap.price = 9
        self.assertEqual((made.state, made.price, made.charged), ("requested", 2, True))
        self.assertEqual(self.booked(made), [("reserve", -2)])
        self.assertEqual(self.balance(), CREDITS - 2)
        self.assert_ledger()

    def test_the_last_credit_can_be_spent_and_no_further(self):
        """Five times two of ten; the sixth is refused with the figures, leaving nothing behind."""
        for _ in range(5):
            self.asks()
        self.assertEqual(self.balance(), 0)
        before = self.requests.search_count([]), self.env["duragen.credit.entry"].search_count([])
        with self.assertRaisesRegex(CreditsError, r"costs 2 credits, and you have 0 credits"):
            self.asks()
        after = self.requests.search_count([]), self.env["duragen.credit.entry"].search_count([])
        self.assertEqual(before, after)
        self.assertEqual(self.balance(), 0)
        self.assert_ledger()

    def test_a_refusal_that_was_caught_leaves_nothing_behind(self):
        """A caller that turns it into an answer commits: there must be nothing to commit."""
        self.asks()
        self.cheap.price = CREDITS + 1
        before = self.requests.search_count([])
        try:
            self.asks(client_reference="again")
        except CreditsError:
            self.env.flush_all()
        self.assertEqual(self.requests.search_count([]), before)
        self.cheap.price = 1
        self.assertEqual(self.asks(client_reference="again").state, "requested")
        self.assert_ledger()

    def test_what_costs_nothing_is_booked_as_well(self):
        """Also with an empty account."""
        self.cheap.price = 0
        self.grant(self.anna, -CREDITS)
        made = self.asks()
        self.assertEqual(self.booked(made), [("reserve", 0)])
        self.assertEqual(self.balance(), 0)

    def test_each_pays_from_his_own_account(self):
        """One in each company that he works in."""
        elsewhere = self.env["res.company"].create({"name": "Elsewhere"})
        self.anna.company_ids |= elsewhere
        self.asks(self.bert)
        self.asks()
        there = self.requests.with_user(self.anna).sudo(False).with_company(elsewhere)
        vals = {"prompt": "a fox", "model_id": self.cheap.id}
        with self.assertRaises(CreditsError):  # what a user begins with is granted once
            there.submit_generation(vals)
        here = [self.env.company.id, elsewhere.id]
        wizard = self.env["duragen.grant.credits"].with_context(allowed_company_ids=here)
        granted = {"user_id": self.anna.id, "company_id": elsewhere.id, "credits": 5}
        wizard.create(granted).action_grant()
        made = there.submit_generation(vals).sudo()
        self.assertEqual(made.company_id, elsewhere)
        self.assertEqual(made.entry_ids.account_id.balance, 3)
        self.assertEqual(self.asks().entry_ids.account_id.balance, CREDITS - 4)
        self.assert_ledger()


@tagged("post_install", "-at_install")
class TestQuota(DuragenCase):
    """So many generations a day or a month."""

    def _quota(self, limit, period="day", **more):
        return self.env["duragen.quota"].create({"limit": limit, "period": period, **more})

    def _refused(self, user=None):
        with self.assertRaises(QuotaError) as raised:
            self.asks(user)
        return raised.exception

    def test_a_day_has_so_many(self):
        """Then it is refused until midnight (UTC), and nothing is booked."""
        self._quota(2)
        self.asks()
        self.asks()
        refused = self._refused()
        self.assertIn("used up (2 of 2)", refused.args[0])
        now = fields.Datetime.now()
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        self.assertAlmostEqual(refused.retry_after, (midnight - now).total_seconds(), delta=5)
        self.assertEqual(self.balance(), CREDITS - 4)
        self.asks(self.bert)  # everybody has as many

    def test_yesterday_does_not_count_today(self):
        """Only what was asked for in the period."""
        self._quota(1)
        self._quota(2, "month")
        made = self.asks()
        midnight = fields.Datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
        made.requested_at = midnight
        self._refused()
        made.requested_at = midnight - timedelta(seconds=1)
        self.asks()

    def test_a_month_has_so_many(self):
        """Whatever the day has left."""
        self._quota(9)
        self._quota(1, "month")
        made = self.asks()
        self.assertIn("of this month", self._refused().args[0])
        first = fields.Datetime.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        made.requested_at = first - timedelta(seconds=1)
        self.asks()

    def test_his_own_row_wins(self):
        """Whether higher or lower than everybody's; without any row there is no limit."""
        self._quota(1)
        own = self._quota(2, user_id=self.anna.id)
        self.asks()
        self.asks()
        self._refused()
        own.limit = 0
        self.asks(self.bert)
        self._refused(self.bert)
        own.active = False  # then everybody's holds again
        self._refused()
        self.env["duragen.quota"].search([]).active = False
        self.asks()

    def test_a_limit_of_zero_allows_none(self):
        """A limit of 0 refuses the first."""
        self._quota(0, user_id=self.anna.id)
        self._refused()
        self.assertEqual(self.balance(), CREDITS)

    def test_another_companys_quota_does_not_hold_here(self):
        """Quotas are the company's."""
        elsewhere = self.env["res.company"].create({"name": "Elsewhere"})
        self._quota(0, company_id=elsewhere.id)
        self.asks()

    def test_what_failed_by_our_fault_gives_its_place_back(self):
        """So does a request canceled before its start."""
        self._quota(1)
        made = self.asks()
        self._refused()
        self.deliver(self.failed(made))
        self.taken_back(self.asks())
        self.asks()
        self._refused()

    def test_a_refused_prompt_counts(self):
        """It was submitted, whatever the policy says it costs."""
        for user, policy in ((self.anna, "release"), (self.bert, "capture")):
            self.set_up(user_errors=policy)
            self._quota(1, user_id=user.id)
            self.deliver(self.failed(self.asks(user), REFUSED))
            self._refused(user)

    def test_a_failure_that_may_have_been_paid_for_counts(self):
        """By our fault as well, so that nobody asks for ever what always fails after the call.

        The credits are given back all the same, whether its outcome comes or is asked for.
        """
        self._quota(2)
        made, other = self.asks(), self.asks()
        self.deliver(self.failed(made, {**CLOSED, "mayHaveBeenPaid": True}))
        other._started()
        error = {"code": "JOB_LOST", "detail": "x", "hint": None, "mayHaveBeenPaid": True}
        other._reconcile({"state": "abandoned", "image": None, "error": error, "parked": None})
        self.assertEqual((made.state, other.state), ("failed", "failed"))
        self.assertEqual(self.balance(), CREDITS)
        self._refused()

    def test_an_image_after_all_counts_as_it_is_charged(self):
        """Operators ran it again; but one that its user has asked for again counts once."""
        self._quota(2)
        made, other = self.asks(), self.asks()
        for each in (made, other):
            self.deliver(self.failed(each))
        self.deliver(self.completed(made))
        other.with_user(self.anna).sudo(False).action_retry()
        self.deliver(self.completed(other))
        self.assertEqual((made.counted, other.counted, other.charged), (True, False, False))
        self._refused()

    def test_rows_from_before_count_as_they_did_then(self):
        """An upgrade gives nobody a second day's quota."""
        self._quota(1)
        made = self.asks()
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE duragen_generation_request SET counted = NULL WHERE id = %s", [made.id]
        )
        self.env["duragen.generation.request"].init()
        made.invalidate_recordset()
        self._refused()

    def test_one_row_each(self):
        """Two rows for the same people and period would contradict each other."""
        self._quota(1)
        with mute_logger("odoo.sql_db"), self.assertRaises(psycopg2.errors.UniqueViolation):
            self._quota(2)


@tagged("post_install", "-at_install")
class TestRate(DuragenCase):
    """So many submissions a minute, however they come."""

    def setUp(self):
        """Two a minute."""
        super().setUp()
        self.set_up(api_rate_per_minute=2)
        key = self.env["res.users.apikeys"].with_user(self.anna).sudo()
        self.key = key._generate(None, "a test", None)
        self.api = self.env["duragen.api"].with_user(self.gateway_user).sudo(False)

    def _portal(self):
        self.asks(origin="portal")

    def _backend(self):
        self.draft().action_submit()

    def _retry(self):
        self.failures.pop().with_user(self.anna).sudo(False).action_retry()

    def _api(self):
        answer = self.api.submit(self.key, {"prompt": "a fox", "modelId": FULL})
        if answer.get("httpStatus") == 429:
            raise QuotaError(answer["message"], answer["retryAfter"], answer["limit"])
        self.assertTrue(answer["ok"], answer)

    def test_every_way_in_counts_and_is_limited(self):
        """Each of them is the second of two, and each is refused as the third."""
        ways = (self._portal, self._backend, self._retry, self._api)
        for first in ways:
            for last in ways:
                with self.subTest(first=first.__name__, last=last.__name__):
                    self.set_up(api_rate_per_minute=1_000)
                    self.grant(self.anna, 10)
                    self.failures = [self.asks() for _ in range(2)]
                    for made in self.failures:
                        self.deliver(self.failed(made))
                    self.requests.search([]).requested_at = "2026-01-01 00:00:00"
                    self.set_up(api_rate_per_minute=2)
                    self.asks()
                    first()
                    with self.assertRaisesRegex(QuotaError, "the limit is 2 a minute") as raised:
                        last()
                    self.assertAlmostEqual(raised.exception.retry_after, 60, delta=10)

    def test_of_many_drafts_none_is_submitted(self):
        """All, or none."""
        drafts = self.draft() | self.draft() | self.draft()
        with self.assertRaises(QuotaError), self.env.cr.savepoint():
            drafts.action_submit()
        self.assertEqual(set(drafts.mapped("state")), {"draft"})

    def test_each_user_has_his_own(self):
        """What one asks for does not slow another down."""
        self.asks()
        self.asks()
        self.assertEqual(self.asks(self.bert).state, "requested")

    def test_canceling_is_no_way_around_it(self):
        """Not even of what was never sent."""
        for _ in range(2):
            self.taken_back(self.asks())
        with self.assertRaises(QuotaError):
            self.asks()
