"""The ledger: every balance is the sum of its entries, and what is written stays."""

import random

import psycopg2
from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..exceptions import CreditsError
from .common import CLOSED, CREDITS, PAID, REFUSED, TAKEN_BACK, DuragenCase

POLICIES = ["release", "after_warning", "capture"]
CANCELLATIONS = ["release", "capture"]
OUTCOMES = (CLOSED, REFUSED, TAKEN_BACK, PAID)
STEPS = 40
SEEDS = range(4)


@tagged("post_install", "-at_install")
class TestLedger(DuragenCase):
    """What is booked, and what it comes to."""

    def test_a_balance_is_the_sum_of_its_entries_after_anything(self):
        """Whatever two users do and Duragen delivers, in any order, with any policy."""
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self._walk(random.Random(seed))  # noqa: S311

    def _walk(self, chance):  # noqa: C901  # one small function for each thing that can happen
        made = []
        for user in (self.anna, self.bert):
            self.grant(user, CREDITS - self.balance(user) or 1)

        def submit():
            user = chance.choice([self.anna, self.bert])
            model = chance.choice([self.cheap, self.full])
            try:
                made.append(self.asks(user, model_id=model.id))
            except CreditsError:
                self.assertLess(self.balance(user), model.price)

        def deliver():
            request = chance.choice(made)
            failures = [self.failed(request, each) for each in OUTCOMES]
            self.deliver(chance.choice([self.completed(request), *failures]))

        def retry():
            ended = [each for each in made if each.state in ("failed", "canceled")]
            if ended:
                try:
                    opened = chance.choice(ended).action_retry()
                except CreditsError:
                    return
                made.append(self.requests.browse(opened["res_id"]))

        def start():
            waiting = [each for each in made if each.state == "requested"]
            if waiting:
                chance.choice(waiting)._started()

        def cancel():
            request = chance.choice(made)
            request.with_user(chance.choice([request.user_id, self.manager])).action_cancel()

        submit()
        for _ in range(STEPS):
            action = chance.choice(
                [
                    submit,
                    deliver,
                    deliver,
                    retry,
                    start,
                    cancel,
                    lambda: self.grant(chance.choice([self.anna, self.bert]), chance.randint(1, 3)),
                    lambda: self.set_up(user_errors=chance.choice(POLICIES)),
                    lambda: self.set_up(user_cancellations=chance.choice(CANCELLATIONS)),
                ]
            )
            action()
            self.assert_ledger()
        self.assertGreater(len(made), 3)

    def test_a_completed_one_is_captured(self):
        """The reservation stands; the capture moves nothing."""
        made = self.asks()
        self.deliver(self.completed(made))
        self.assertEqual(self.booked(made), [("reserve", -2), ("capture", 0)])
        self.assertTrue(made.charged)
        self.assertEqual(self.balance(), CREDITS - 2)

    def test_our_fault_costs_nothing(self):
        """Whatever the policy on users' errors."""
        for policy in ("release", "capture"):
            with self.subTest(policy=policy):
                self.set_up(user_errors=policy)
                made = self.asks()
                self.deliver(self.failed(made, CLOSED))
                self.assertEqual(self.booked(made), [("reserve", -2), ("release", 2)])
                self.assertFalse(made.charged)
                self.assertEqual(self.balance(), CREDITS)

    def test_a_users_error_costs_what_the_policy_says(self):
        """Given back or kept."""
        for policy, booked in {"release": ("release", 2), "capture": ("capture", 0)}.items():
            with self.subTest(policy=policy):
                self.set_up(user_errors=policy)
                made = self.asks()
                self.deliver(self.failed(made, REFUSED))
                self.assertEqual(self.booked(made), [("reserve", -2), booked])
                self.assertEqual(made.charged, policy == "capture")

    def test_completed_after_failed_takes_the_price_again(self):
        """At the price of then, even without enough credits: the image was asked for and made."""
        made = self.asks()
        self.deliver(self.failed(made))
        self.grant(self.anna, -self.balance())
        self.cheap.price = 9
        self.deliver(self.completed(made))
        self.assertEqual(self.booked(made), [("reserve", -2), ("release", 2), ("capture", -2)])
        self.assertEqual(self.balance(), -2)
        self.assertTrue(made.charged)
        self.assert_ledger()

    def test_one_image_is_paid_for_once(self):
        """Failed, asked for again and paid; then operators rerun the first one: it is free."""
        made = self.asks()
        self.deliver(self.failed(made))
        made.with_user(self.anna).sudo(False).action_retry()
        again = self.requests.search([("retry_of_id", "=", made.id)])
        self.deliver(self.completed(made))
        self.assertEqual(self.booked(made), [("reserve", -2), ("release", 2), ("capture", 0)])
        self.assertEqual((made.state, made.charged), ("completed", False))
        self.deliver(self.completed(again))
        self.assertEqual(self.balance(), CREDITS - 2)
        self.assert_ledger()

    def test_completed_after_a_kept_failure_takes_nothing_more(self):
        """It has been paid already."""
        self.set_up(user_errors="capture")
        made = self.asks()
        self.deliver(self.failed(made, REFUSED))
        self.deliver(self.completed(made))
        self.assertEqual(self.booked(made), [("reserve", -2), ("capture", 0)])
        self.assertEqual(self.balance(), CREDITS - 2)

    def test_what_never_started_costs_nothing_to_take_back(self):
        """Whatever the policy: nothing was spent for it."""
        self.set_up(user_errors="capture")
        made = self.asks()
        self.taken_back(made, self.anna)
        self.assertEqual(self.booked(made), [("reserve", -2), ("release", 2)])
        self.assert_ledger()

    def test_a_negative_balance_buys_nothing(self):
        """Until it is paid off."""
        made = self.asks()
        self.deliver(self.failed(made))
        self.grant(self.anna, -self.balance())
        self.deliver(self.completed(made))
        with self.assertRaises(CreditsError):
            self.asks()
        self.grant(self.anna, 4)
        self.asks()
        self.assertEqual(self.balance(), 0)

    def test_what_one_begins_with_is_an_entry(self):
        """So the sum is right from the first; 0 credits make no entry."""
        self.asks()
        account = self.env["duragen.account"].search([("user_id", "=", self.anna.id)])
        grants = account.entry_ids.filtered(lambda each: each.kind == "grant")
        self.assertEqual(grants.mapped("delta"), [CREDITS])
        self.set_up(initial_credits=0)
        with self.assertRaises(CreditsError):
            self.asks(self.bert)


@tagged("post_install", "-at_install")
class TestAppendOnly(DuragenCase):
    """No user changes what was booked."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.made = self.asks()
        self.entry = self.made.entry_ids
        self.env.flush_all()

    def test_not_by_the_orm(self):
        """Not even the superuser."""
        for values in ({"delta": 1}, {"kind": "grant"}, {"note": "x"}, {"request_id": False}):
            with self.subTest(values=values), self.assertRaises(UserError):
                self.entry.write(values)
        with self.assertRaises(UserError):
            self.entry.unlink()
        with self.assertRaises(UserError):
            self.made.write({"entry_ids": [(2, self.entry.id)]})

    def test_not_by_sql(self):
        """The table itself refuses."""
        for statement in (
            "UPDATE duragen_credit_entry SET delta = 0 WHERE id = %s",
            "UPDATE duragen_credit_entry SET kind = 'grant' WHERE id = %s",
            "UPDATE duragen_credit_entry SET request_id = NULL WHERE id = %s",
            "UPDATE duragen_credit_entry SET account_id = account_id + 1 WHERE id = %s",
            "DELETE FROM duragen_credit_entry WHERE id = %s",
        ):
            with (
                self.subTest(statement=statement),
                mute_logger("odoo.sql_db"),
                self.assertRaisesRegex(psycopg2.Error, "append-only"),
                self.env.cr.savepoint(),
            ):
                self.env.cr.execute(statement, [self.entry.id])

    def test_one_entry_a_request_and_kind(self):
        """By a unique index, whoever writes; there may be many grants without a request."""
        insert = (
            "INSERT INTO duragen_credit_entry (account_id, request_id, kind, delta)"
            " VALUES (%s, %s, %s, 1)"
        )
        account = self.entry.account_id.id
        with mute_logger("odoo.sql_db"), self.assertRaises(psycopg2.errors.UniqueViolation):
            self.env.cr.execute(insert, [account, self.made.id, "reserve"])
        for kind in ("capture", "release"):
            self.env.cr.execute(insert, [account, self.made.id, kind])
        for _ in range(2):
            self.env.cr.execute(insert, [account, None, "grant"])

    def test_one_account_one_image_one_id(self):
        """The other promises that the database keeps."""
        self.deliver(self.completed(self.made))
        self.env.flush_all()
        for table, columns in {
            "duragen_account": "user_id, company_id, balance",
            "duragen_generated_image": "request_id, format, size, width, height, sha256",
            "duragen_ai_model": "model_uuid, name, resolutions, price",
        }.items():
            with (
                self.subTest(table=table),
                mute_logger("odoo.sql_db"),
                self.assertRaises(psycopg2.errors.UniqueViolation),
            ):
                self.env.cr.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT 1"  # noqa: S608
                )

    def test_what_was_booked_for_stays(self):
        """A submitted request, its account and its model cannot be deleted."""
        with self.assertRaises(UserError):
            self.made.unlink()
        for record in (self.entry.account_id, self.cheap):
            with (
                self.subTest(model=record._name),
                mute_logger("odoo.sql_db"),
                self.assertRaises(psycopg2.IntegrityError),
            ):
                record.unlink()
