"""Erasing: nothing that a person wrote is left in the database, and the ledger stays."""

import json
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user, tagged
from odoo.tools import SQL

from ..models import account_erasure, generation_retention
from .common import CREDITS, DuragenCase

WORDS = "sealion in a teapot"
FAILED = {"status": "failed", "errorMessage": f"no {WORDS}", "errorCode": "POLICY_INPUT"}


class ErasureCase(DuragenCase):
    """What both classes below use."""

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


@tagged("post_install", "-at_install")
class TestErasure(ErasureCase):
    """action_erase_words."""

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

    def test_ones_own_and_a_managers_alone(self):
        """A stranger is refused, and so is Duragen's own user."""
        made = self._asks()
        self.deliver(self.failed(made))
        for user in (self.bert, self.gateway_user):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                made.with_user(user).sudo(False).action_erase_words()
        self.assertIn(WORDS, made.prompt)
        made.with_user(self.anna).sudo(False).action_erase_words()
        self.assertEqual(self._tables(WORDS), set())

    def test_a_portal_user_erases_his_own(self):
        """He writes no request otherwise."""
        guest = new_test_user(self.env, "core_guest", "base.group_portal")
        made = self.asks(guest, prompt=WORDS)
        self.deliver(self.completed(made))
        self.assertIn("bus_bus", self._tables(WORDS))
        made.with_user(guest).sudo(False).action_erase_words()
        self.assertFalse(made.image_ids)
        self.assertEqual(self._tables(WORDS), set())

    def test_a_receivers_answer_goes_too(self):
        """It may say back what it was sent."""
        self.env["duragen.webhook.endpoint"].with_user(self.anna).create(
            {"url": "https://receiver.example/hook"}
        )
        made = self._asks()
        self.deliver(self.failed(made))
        delivery = self.env["duragen.webhook.delivery"].search([("request_id", "=", made.id)])
        delivery.last_answer = f"no {WORDS}, please"
        made.action_erase_words()
        self.assertFalse(delivery.last_answer)

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

    def test_an_operator_is_shown_what_to_run(self):
        """Until a manager notes that it was run; a user neither sees nor says so."""
        first, second = self._asks(), self._asks()
        for each in (first, second):
            self.deliver(self.failed(each))
        both = first | second
        self.assertFalse(first.erase_command)
        both.action_erase_words()
        self.assertEqual(first.erase_command, f"duragen erase {first.request_uuid} --yes")
        other = self._asks()
        self.deliver(self.failed(other))
        with self.assertRaisesRegex(UserError, "None of these"):
            other.with_user(self.manager).sudo(False).action_show_erase_command()
        # What was not erased here is not erased there either, whatever is selected.
        as_manager = (both | other).with_user(self.manager).sudo(False)
        shown = as_manager.action_show_erase_command()["params"]["message"]
        self.assertEqual(shown, f"duragen erase {first.request_uuid} {second.request_uuid} --yes")
        as_anna = both.with_user(self.anna).sudo(False)
        for method in ("action_show_erase_command", "action_erased_there"):
            with self.subTest(method=method), self.assertRaises(AccessError):
                getattr(as_anna, method)()
        with self.assertRaises(AccessError):
            as_anna.read(["erase_command"])
        as_manager.action_erased_there()
        self.assertEqual(both.mapped("erasure_waits"), [False, False])
        self.assertFalse(first.erase_command)


@tagged("post_install", "-at_install")
class TestErasureOfAUser(ErasureCase):
    """The button of an account."""

    def setUp(self):
        """Two of Anna's that have ended, and one of Bert's."""
        super().setUp()
        self.hers = self._asks() | self._asks()
        self.his = self.asks(self.bert, prompt=f"his {WORDS}")
        for each in self.hers | self.his:
            self.deliver(self.failed(each))
        accounts = self.env["duragen.account"].search([])
        self.account = accounts.filtered(lambda each: each.user_id == self.anna)

    def _erase_all(self, user=None):
        self.account.with_user(user or self.manager).sudo(False).action_erase_words()

    def test_all_of_one_user(self):
        """Drafts as well; of others, and of the ledger, nothing."""
        draft = self.draft(prompt=WORDS)
        booked = [self.booked(each) for each in self.hers]
        self._erase_all()
        self.assertFalse(draft.exists())
        self.assertEqual(set(self.hers.mapped("prompt")), {"(erased)"})
        self.assertIn(WORDS, self.his.prompt)
        self.assertEqual([self.booked(each) for each in self.hers], booked)
        self.assertFalse(self.account.erase_up_to)

    def test_for_managers_alone(self):
        """Anna herself erases them one by one."""
        with self.assertRaises(AccessError):
            self._erase_all(self.anna)
        self.assertIn(WORDS, self.hers[0].prompt)

    def test_what_is_under_way_is_refused(self):
        """Nothing is erased then; the text says of whom, and how many."""
        self._asks()
        with self.assertRaisesRegex(UserError, "Under way: 1 of core_anna"):
            self._erase_all()
        self.assertIn(WORDS, self.hers[0].prompt)

    def test_many_follow_in_the_background(self):
        """What one transaction does not do, the cron does; not what was asked for afterwards."""
        self.patch(account_erasure, "AT_ONCE", 1)
        self._erase_all()
        self.assertEqual(self.hers.mapped("prompt").count("(erased)"), 1)
        self.assertTrue(self.account.erase_up_to)
        later = self._asks()
        self.deliver(self.failed(later))
        with self.own_cursors_are_ours():
            self.requests._cron_erase()
        self.assertEqual(set(self.hers.mapped("prompt")), {"(erased)"})
        self.assertIn(WORDS, later.prompt)
        self.assertFalse(self.account.erase_up_to)


@tagged("post_install", "-at_install")
class TestRetention(ErasureCase):
    """Erasing by age."""

    def setUp(self):
        """Old ones, one that ended lately and one that is under way for long."""
        super().setUp()
        self.set_up(erase_after_days=30)
        self.grant(self.anna, 100)
        self.requests.search([]).write({"ended_at": False})
        self.old = self._asks() | self._asks() | self._asks()
        self.late, self.open = self._asks(), self._asks()
        for each in self.old | self.late:
            self.deliver(self.failed(each))
        days = timedelta(days=31)
        self.old.write({"ended_at": fields.Datetime.now() - days})
        self.open.write({"requested_at": fields.Datetime.now() - days})

    def _erased(self):
        return (self.old | self.late | self.open).filtered("erased_at")

    def _run(self):
        with self.own_cursors_are_ours():
            self.requests._cron_erase()

    def _triggers(self):
        self.env.flush_all()
        cron = self.env.ref("duragen.cron_erase")
        return self.env["ir.cron.trigger"].sudo().search_count([("cron_id", "=", cron.id)])

    def test_what_is_old_goes(self):
        """By the end of the request; what is under way stays."""
        self._run()
        self.assertEqual(self._erased(), self.old)
        self.assertTrue(all(self.old.mapped("erasure_waits")))

    def test_old_drafts_go(self):
        """By their last change."""
        draft, other = self.draft(), self.draft()
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE duragen_generation_request SET write_date = now() - interval '31 days'"
            " WHERE id = %s",
            [draft.id],
        )
        self.env.invalidate_all()
        self._run()
        self.assertEqual((draft | other).exists(), other)

    def test_never_by_default(self):
        """Nor for a number that is none."""
        for days in (0, -1, "soon"):
            self.set_up(erase_after_days=days)
            self._run()
            self.assertFalse(self._erased())

    def test_an_age_beyond_all_time(self):
        """No date is that long ago."""
        self.set_up(erase_after_days=10**9)
        self._run()
        self.assertFalse(self._erased())

    def test_a_run_is_bounded(self):
        """What is left follows in a run that begins at once; the last one asks for no other."""
        self.patch(generation_retention, "BATCH", 2)
        before = self._triggers()
        self._run()
        self.assertEqual(len(self._erased()), 2)
        self.assertEqual(self._triggers(), before + 1)
        self._run()
        self.assertEqual(self._erased(), self.old)
        self.assertEqual(self._triggers(), before + 1)

    def test_one_that_fails_keeps_none_of_the_others(self):
        """It is in the log, and is tried again the next day."""
        bad = self.old[1]
        self.env.cr.execute(
            "ALTER TABLE duragen_generation_request ADD CONSTRAINT in_the_way CHECK"
            f" (id != {bad.id} OR erased_at IS NULL)"
        )
        with self.assertLogs("odoo.addons.duragen.models.generation_retention", "ERROR"):
            self._run()
        self.assertEqual(self._erased(), self.old - bad)
