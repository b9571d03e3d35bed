"""Retry, cancel, try now and ask, with many requests at once."""

from odoo.exceptions import UserError
from odoo.tests import tagged

from ..models import generation_mass
from .common import CREDITS, UNKNOWN, DuragenCase


@tagged("post_install", "-at_install")
class TestMass(DuragenCase):
    """What cannot be done holds up nothing else, and is said."""

    def _ended(self, *users):
        made = self.requests.union(*(self.asks(user) for user in users))
        for each in made:
            self.deliver(self.failed(each))
        return made

    def _as(self, user, requests):
        return requests.with_user(user).sudo(False)

    def _refused(self, action):
        self.assertEqual(action["tag"], "display_notification")
        return f"{action['params']['title']} {action['params']['message']}"

    def test_many_are_tried_again(self):
        """One opens its form, several their list."""
        failed = self._ended(self.anna, self.anna)
        opened = self._as(self.anna, failed).action_retry()
        again = self.requests.search(opened["domain"])
        self.assertEqual(again.retry_of_id, failed)
        self.assertEqual(set(again.mapped("state")), {"requested"})
        self.assertEqual(self.balance(), CREDITS - 4)
        [one, _] = self._ended(self.bert, self.bert)
        self.assertEqual(self._as(self.bert, one).action_retry()["view_mode"], "form")

    def test_what_cannot_be_tried_again_is_said(self):
        """The others are; each reason stands there once, with a number."""
        failed, waiting = self._ended(self.anna), self.asks() | self.asks()
        action = self._as(self.anna, failed | waiting).action_retry()
        said = self._refused(action)
        self.assertIn("Done: 1. Not done: 2.", said)
        self.assertIn("2: Only what failed", said)
        self.assertEqual(
            self.requests.search(action["params"]["next"]["domain"]).retry_of_id, failed
        )

    def test_those_that_can_be_paid_for_are_paid_for(self):
        """The ledger is right after a refusal in the middle."""
        failed = self._ended(self.anna, self.anna, self.anna)
        self.grant(self.anna, 4 - CREDITS)
        action = self._as(self.anna, failed).action_retry()
        self.assertIn("Done: 2. Not done: 1.", self._refused(action))
        self.assertEqual(self.balance(), 0)
        self.assert_ledger()

    def test_of_others_only_a_manager_does_it(self):
        """A user who names them gets nothing done with them."""
        theirs = self._ended(self.bert)
        self.assertEqual(len(self._as(self.manager, theirs | self._ended(self.anna)).ids), 2)
        action = self._as(self.anna, theirs | self._ended(self.anna)).action_retry()
        self.assertIn("Done: 1. Not done: 1.", self._refused(action))
        self.assertFalse(self.requests.search([("retry_of_id", "in", theirs.ids)]))
        theirs |= self._ended(self.anna)
        self.assertIn("domain", self._as(self.manager, theirs).action_retry())

    def test_many_are_canceled(self):
        """Drafts, waiting ones and what is being made; what has ended is said."""
        draft, waiting, ended = self.draft().sudo(), self.asks(), self._ended(self.anna)
        self.assertIs(self._as(self.anna, draft | waiting).action_cancel(), True)
        self.assertEqual(draft.state, "canceled")
        self.assertTrue(waiting.cancel_requested)
        action = self._as(self.anna, self.asks() | ended).action_cancel()
        self.assertIn("1: It has ended already", self._refused(action))

    def test_what_waits_is_tried_now(self):
        """Right after the commit, not at the outbox's next run."""
        waiting = self.asks() | self.asks()
        for each in waiting:
            each._postpone("an outage")
        with self.gateway() as gateway, self.own_cursors_are_ours():
            self.env.cr.postcommit.clear()
            self.assertIs(self._as(self.anna, waiting).action_try_now(), True)
            self.assertEqual(gateway.calls, [])
            self.env.flush_all()
            self.env.cr.postcommit.run()
            self.assertEqual(len(gateway.calls), 2)
        self.assertEqual(set(waiting.mapped("state")), {"started"})
        with self.assertRaisesRegex(UserError, "Only what waits"):
            self._as(self.anna, waiting[:1]).action_try_now()
        said = self._refused(self._as(self.anna, waiting).action_try_now())
        self.assertIn("Done: 0. Not done: 2.", said)

    def test_an_outage_costs_one_call(self):
        """The rest is left to the outbox."""
        waiting = self.asks() | self.asks() | self.asks()
        with self.gateway((503, {})) as gateway, self.own_cursors_are_ours():
            self.env.cr.postcommit.clear()
            self._as(self.anna, waiting).action_try_now()
            self.env.flush_all()
            self.env.cr.postcommit.run()
            self.assertEqual(len({body["requestId"] for _, _, body in gateway.calls}), 1)
        self.assertEqual(set(waiting.mapped("state")), {"requested"})

    def test_duragen_is_asked_about_many(self):
        """What it does not know is started again; what waits was not asked about."""
        started = self.asks() | self.asks()
        with self.gateway(UNKNOWN):
            for each in started:
                each._started()
            self.assertIs(self._as(self.anna, started).action_refresh(), True)
        self.assertEqual(set(started.mapped("state")), {"requested"})
        with self.gateway(UNKNOWN):
            started[0]._started()
            action = self._as(self.anna, started).action_refresh()
        self.assertIn("Done: 1. Not done: 1.", self._refused(action))

    def test_there_is_a_bound(self):
        """Nobody holds a server up with a million."""
        self.cheap.price = 0
        many = self.draft().sudo()
        for _ in range(2):
            many |= self.draft().sudo()
        self.patch(generation_mass, "MOST", 2)
        for method in ("action_retry", "action_cancel", "action_refresh", "action_try_now"):
            with self.subTest(method=method), self.assertRaisesRegex(UserError, "At most 2"):
                getattr(self._as(self.anna, many), method)()
