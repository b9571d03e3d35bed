"""Erasing: nothing that a person wrote is left in the database, and the ledger stays."""

import json

from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL

from .common import CREDITS, DuragenCase

WORDS = "sealion in a teapot"
FAILED = {"status": "failed", "errorMessage": f"no {WORDS}", "errorCode": "POLICY_INPUT"}


@tagged("post_install", "-at_install")
class TestErasure(DuragenCase):
    """action_erase_words."""

    def _asks(self):
        return self.asks(model_id=self.full.id, prompt=f"A {WORDS}!", negative_prompt=f"no {WORDS}")

    def _tables(self, words):
        """The tables of the whole database in which a row holds the words."""
        self.env.flush_all()
        self.env.cr.precommit.run()
        self.env.cr.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = set()
        for (table,) in self.env.cr.fetchall():
            row = "SELECT 1 FROM %s AS r WHERE r::text LIKE %s LIMIT 1"
            self.env.cr.execute(SQL(row, SQL.identifier(table), f"%{words}%"))
            if self.env.cr.fetchone():
                found.add(table)
        return found

    def _files(self):
        images = [("res_model", "=", "duragen.generated.image"), ("res_field", "!=", False)]
        return self.env["ir.attachment"].sudo().search(images)

    def test_no_table_holds_a_word_of_it(self):
        """Prompts, error texts, the event, the image, what open pages were sent; all in one go."""
        before = self._files()
        failed, made = self._asks(), self._asks()
        for each in (failed, made):
            each._started()
        failed.write({"start_error": WORDS, "progress_note": WORDS})
        self.deliver(self.failed(failed, FAILED))
        self.deliver(self.completed(made))
        made.image_id.thumbnail = made.image_id.data
        both = made | failed
        entries = [self.booked(each) for each in both]
        self.assertEqual(self._tables(WORDS), {"duragen_generation_request", "bus_bus"})
        self.assertEqual(len(self._files() - before), 2)
        both.with_user(self.manager).sudo(False).action_erase_words()
        self.assertEqual(self._tables(WORDS), set())
        self.assertEqual(self._files(), before)
        self.assertEqual(both.mapped("prompt"), ["(erased)"] * 2)
        self.assertEqual(both.mapped("state"), ["completed", "failed"])
        self.assertTrue(all(both.mapped("erased_at")))
        self.assertEqual([self.booked(each) for each in both], entries)
        self.assert_ledger()

    def test_others_words_stay(self):
        """Also what was sent of another request to the same user's pages."""
        one, other = self._asks(), self._asks()
        for each in (one, other):
            self.deliver(self.failed(each))
        one.action_erase_words()
        self.assertEqual(self._tables(WORDS), {"duragen_generation_request", "bus_bus"})
        self.assertIn(WORDS, other.prompt)

    def test_for_its_user_and_managers_alone(self):
        """Others may not, and its user may."""
        made = self._asks()
        self.deliver(self.failed(made))
        for user in (self.bert, self.gateway_user):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                made.with_user(user).sudo(False).action_erase_words()
        self.assertIn(WORDS, made.prompt)
        made.with_user(self.anna).sudo(False).action_erase_words()
        self.assertEqual(self._tables(WORDS), set())

    def test_what_is_under_way_is_refused(self):
        """And then nothing of the others is erased: its outcome would bring the words again."""
        ended, waiting = self._asks(), self._asks()
        self.deliver(self.failed(ended))
        for start in (lambda: None, waiting._started):
            start()
            with self.assertRaises(UserError):
                (ended | waiting).action_erase_words()
            self.assertIn(WORDS, ended.prompt)

    def test_drafts_are_deleted(self):
        """No entry of the ledger belongs to one."""
        draft = self.draft(prompt=WORDS)
        draft.with_user(self.manager).action_erase_words()
        self.assertFalse(draft.exists())

    def test_nothing_brings_it_back(self):
        """No outcome that comes later, which is not charged then, and no second try."""
        made = self._asks()
        self.deliver(self.failed(made))
        made.action_erase_words()
        self.assertEqual(self.deliver(self.completed(made)), "repeated")
        self.assertFalse(made.image_ids)
        with self.assertRaises(UserError):
            made.with_user(self.anna).sudo(False).action_retry()
        self.assertEqual(self.balance(), CREDITS)

    def test_open_pages_show_it(self):
        """They get the request without its words."""
        made = self._asks()
        self.deliver(self.failed(made))
        self.env.cr.precommit.run()
        made.action_erase_words()
        self.env.cr.precommit.run()
        rows = self.env["bus.bus"].sudo().search([("message", "like", made.request_uuid)])
        sent = [json.loads(row.message)["payload"]["prompt"] for row in rows]
        self.assertEqual(sent, ["(erased)"])
