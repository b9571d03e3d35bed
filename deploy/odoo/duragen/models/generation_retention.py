"""Retention: what is older than the settings say is erased, a batch at a time."""

import logging
import time
from datetime import timedelta

import psycopg2
from odoo import api, fields, models

from ..after_commit import in_own_transaction
from .generation_request import OPEN_STATES

_logger = logging.getLogger(__name__)

BATCH, CHUNK = 1_000, 50
"""Requests that one run takes, and those that one transaction erases. What is left follows at
once, in another run."""

RUN_SECONDS = 60.0
"""Odoo ends a cron that takes two minutes."""

BUSY = timedelta(minutes=10)
"""When those that another transaction had are looked at again."""

MOST_DAYS = 36_500


class GenerationRetention(models.Model):
    """Erases what is due: by its age, or because all of a user is to go."""

    _inherit = "duragen.generation.request"

    @api.model
    def _cron_erase(self):
        """Erase what is due, each chunk in a transaction of its own; and again while there is more.

        One that fails is noted in the log, and tried again by the next day's run.
        """
        until = time.monotonic() + RUN_SECONDS
        due = self._due_for_erasure(BATCH).ids
        erased = done = 0
        while done < len(due) and time.monotonic() < until:
            erased += self._erase_chunk(due[done : done + CHUNK])
            done += CHUNK
        cron = self.env.ref("duragen.cron_erase").sudo()
        if erased and (done < len(due) or len(due) == BATCH):
            cron._trigger()
        elif erased < min(done, len(due)):
            cron._trigger(at=fields.Datetime.now() + BUSY)
        self.env["duragen.account"]._close_erasures()

    @api.model
    def _due_for_erasure(self, limit):
        """The oldest requests (sudo) that are to be erased and are not under way."""
        asked = self.env["duragen.account"]._erasure_domains()
        days = min(self.env["duragen.connection"]._number("erase_after_days"), MOST_DAYS)
        if days > 0:
            before = fields.Datetime.now() - timedelta(days=days)
            asked += [
                [("state", "=", "draft"), ("write_date", "<", before)],
                [("state", "!=", "draft"), ("ended_at", "<", before)],
            ]
        if not asked:
            return self.browse()
        any_of = ["|"] * (len(asked) - 1)
        for domain in asked:
            any_of += ["&"] * (len(domain) - 1) + domain
        left = [("erased_at", "=", False), ("state", "not in", OPEN_STATES)]
        return self.sudo().search([*left, *any_of], order="id", limit=limit)

    def _erase_chunk(self, ids):
        """How many of these were erased; one that fails does not keep the others."""
        try:
            return in_own_transaction(self.env.registry, ids, "_erase_if_ended")
        except psycopg2.OperationalError:
            if len(ids) == 1:
                return 0  # another transaction has it right now; a later run looks again
        except Exception:
            if len(ids) == 1:
                _logger.exception("request %s was not erased", ids[0])
                return 0
        return sum(self._erase_chunk([each]) for each in ids)

    def _erase_if_ended(self):
        """Erase those of these that have ended, but for those that another transaction is at."""
        self.env.cr.execute(
            "SELECT id FROM duragen_generation_request WHERE id = ANY(%s) AND erased_at IS NULL"
            " AND state != ALL(%s) ORDER BY id FOR UPDATE SKIP LOCKED",
            [self.ids, list(OPEN_STATES)],
        )
        found = self.browse(row[0] for row in self.env.cr.fetchall())
        found._erase()
        return len(found)
