"""How many SQL queries one delivery and one submission take: what makes Odoo fast, countable."""

from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from .common import DuragenCase


@tagged("post_install", "-at_install")
class TestQueries(DuragenCase):
    """At most so many, on Odoo's own count of a cursor's queries, however long the ledger is."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.set_up(image_storage="s3")
        for _ in range(3):  # caches that a running Odoo has filled, and a ledger with entries
            self.deliver(self._left_in_s3(self._started()))

    def _started(self):
        made = self.asks()
        made._started()
        return made

    def _left_in_s3(self, made):
        link = f"https://s3.example/duragen/generations/{made.request_uuid}.png?X-Amz-Signature=x"
        return self.completed(made, imageData=None, imageUrl=link)

    def _queries(self, work):
        """Queries of `work`, from an empty cache of records to the commit's own hooks."""
        self.env.flush_all()
        self.env.cr.precommit.clear()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        work()
        self.env.flush_all()
        self.env.cr.precommit.run()
        return self.env.cr.sql_log_count - before

    def test_a_delivery(self):
        """With the image left in S3; Odoo itself adds what each HTTP request costs."""
        event = self._left_in_s3(self._started())
        self.assertLessEqual(self._queries(lambda: self.deliver(event)), 16)

    def test_a_repeated_delivery(self):
        """It only looks."""
        event = self._left_in_s3(self._started())
        self.deliver(event)
        self.assertLessEqual(self._queries(lambda: self.deliver(event)), 1)

    def test_a_submission(self):
        """Until it is committed."""
        self.assertLessEqual(self._queries(self.asks), 12)

    def test_reconciliation_of_many(self):
        """Those that Duragen still works on are brought up to date together."""
        self.requests.search([("state", "in", ("requested", "started"))]).write({"state": "failed"})
        self.cheap.price = 0
        many = self.requests.union(*(self._started() for _ in range(20)))
        many.write({"next_check_at": fields.Datetime.now() - timedelta(hours=1)})
        working = {"state": "generating", "image": None, "error": None, "parked": None}
        with self.gateway((200, working)), self.own_cursors_are_ours():
            self.assertLessEqual(self._queries(self.requests._cron_reconcile), 15)
        self.assertEqual(set(many.mapped("check_attempts")), {1})
        self.assertGreater(min(many.mapped("next_check_at")), fields.Datetime.now())

    def test_what_follows_a_start(self):
        """The record and the open pages are brought up to date."""
        made = self.asks()
        self.assertLessEqual(self._queries(made._started), 8)
