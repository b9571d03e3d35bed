"""What follows an outcome: news for the user, and the module whose record the image is for.

It is noted with the outcome, and done by a cron that is due at once, in a transaction of its own.
So a fault in it neither undoes the outcome nor is lost: it is tried again, after a growing pause.
And Duragen, which waits for the callback's answer, waits neither for a module nor for Odoo's mail.
"""

import logging
import time
from datetime import timedelta

import psycopg2
from odoo import api, fields, models
from odoo.exceptions import AccessError
from psycopg2.extensions import TransactionRollbackError

from ..after_commit import in_own_transaction
from .generation_request import _FOR_OPERATORS

_logger = logging.getLogger(__name__)

FOLLOWS = {"news_waits": "_send_news", "hook_waits": "_call_hook"}
"""What may wait, and what does it; each alone."""

BATCH, RUN_SECONDS = 1_000, 20.0
"""What one run of the cron takes; what is left follows at once, in another run."""

FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(days=1)
NOT_BACK = "It did not come back: perhaps it ended Odoo's process, or Odoo ended it."


def follow_up(registry, request_id, flag):
    """Do one thing that waits of this request; whether it was begun. Never raises.

    It is postponed before it begins. So one that ends Odoo's process, or never returns, is not the
    first again in the next run, in front of all others.
    """
    try:
        if not in_own_transaction(registry, request_id, "_claim_follow", flag):
            return False
    except TransactionRollbackError:
        return False
    except psycopg2.Error:
        _logger.exception("%s of request %s cannot be begun", flag, request_id)
        return False
    try:
        in_own_transaction(registry, request_id, "_follow", flag)
    except TransactionRollbackError as error:
        _logger.info("%s of request %s waits: %r", flag, request_id, error)
        _note_failed(registry, request_id, error)
    except Exception as error:
        _logger.exception("%s of request %s failed", flag, request_id)
        _note_failed(registry, request_id, error)
    return True


def _note_failed(registry, request_id, error):
    try:
        why = f"{type(error).__name__}: {error}"
        in_own_transaction(registry, request_id, "_note_follow_error", why)
    except psycopg2.Error:
        _logger.exception("why request %s failed cannot be noted", request_id)


class GenerationFollowUp(models.Model):
    """The outbox of what follows outcomes."""

    _inherit = "duragen.generation.request"

    hook_waits = fields.Boolean(
        "Its module waits for it",
        help="The record that the image is for has not been informed yet.",
        **_FOR_OPERATORS,
    )
    news_waits = fields.Boolean(
        "News to be sent", help="Its user has not got the news yet.", **_FOR_OPERATORS
    )
    follow_attempts = fields.Integer(help="Times that this failed.", **_FOR_OPERATORS)
    next_follow_at = fields.Datetime(index="btree_not_null", **_FOR_OPERATORS)
    follow_error = fields.Char(help="Why it failed the last time.", **_FOR_OPERATORS)

    def _apply(self, outcome):
        """As before; and note, in the same transaction, what has to follow."""
        done = super()._apply(outcome)
        if done == "applied":
            self._note_follow_ups()
        return done

    def _note_follow_ups(self):
        waits = {"news_waits": self._wants_news(), "hook_waits": bool(self.res_model)}
        if not any(waits.values()):
            return
        now = fields.Datetime.now()
        fresh = {"follow_attempts": 0, "follow_error": False, "next_follow_at": now}
        self.write({**waits, **fresh})
        self._follow_soon()

    @api.model
    def _follow_soon(self):
        """Have the cron run as soon as this is committed."""
        if cron := self.env.ref("duragen.cron_follow", raise_if_not_found=False):
            cron.sudo()._trigger()

    @api.model
    def _cron_follow(self):
        """Do what outcomes have noted, and what failed, when its pause is over.

        News before hooks, and what has not failed yet before what has: a module that is slow or at
        fault holds up its own alone.
        """
        until = time.monotonic() + RUN_SECONDS
        due = [("next_follow_at", "<=", fields.Datetime.now())]
        order = "follow_attempts, next_follow_at, id"
        found = self.search_fetch(due, list(FOLLOWS), order=order, limit=BATCH)
        todo = [(request.id, flag) for flag in FOLLOWS for request in found if request[flag]]
        begun = 0
        for request_id, flag in todo:
            if time.monotonic() > until:
                self._follow_soon()
                return
            begun += follow_up(self.env.registry, request_id, flag)
        if begun and len(found) == BATCH:
            self._follow_soon()

    def action_follow_up(self):
        """Try at once what waits; for managers, when the fault is fixed."""
        self._check_manager()
        self._owned().filtered("next_follow_at").next_follow_at = fields.Datetime.now()
        self._follow_soon()
        return True

    def _check_manager(self):
        if not (self.env.su or self.env.user.has_group("duragen.group_manager")):
            raise AccessError(self.env._("Only managers may do this."))

    def _claim_follow(self, flag):
        """Count the attempt and postpone the next one; False when this waits no more.

        An attempt before this one that left no error did not come back.
        """
        if not self._locked_while(flag):
            return False
        pause = min(FIRST_PAUSE * 2 ** min(self.follow_attempts, 20), LONGEST_PAUSE)
        self.write(
            {
                "follow_attempts": self.follow_attempts + 1,
                "next_follow_at": fields.Datetime.now() + pause,
                "follow_error": self.follow_error or (NOT_BACK if self.follow_attempts else False),
            }
        )
        return True

    def _follow(self, flag):
        """Do one thing if it still waits; its mark goes in the same transaction."""
        if not self._locked_while(flag):
            return
        self[flag] = False
        getattr(self, FOLLOWS[flag])()
        more = any(self[each] for each in FOLLOWS)
        later = fields.Datetime.now() if more else False
        self.write({"next_follow_at": later, "follow_attempts": 0, "follow_error": False})

    def _locked_while(self, flag):
        """Lock the row; False when this waits no more, or another transaction has it."""
        self.flush_recordset()
        self.env.cr.execute(
            "SELECT news_waits, hook_waits FROM duragen_generation_request WHERE id = %s"
            " FOR UPDATE SKIP LOCKED",
            [self.id],
        )
        found = self.env.cr.fetchone()
        self.invalidate_recordset()
        return bool(found) and dict(zip(("news_waits", "hook_waits"), found, strict=True))[flag]

    def _note_follow_error(self, why):
        self._lock()
        if any(self[each] for each in FOLLOWS):
            self.follow_error = why[:500]
