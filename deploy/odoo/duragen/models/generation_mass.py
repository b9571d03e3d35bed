"""The same with many requests at once: what cannot be done holds up nothing else."""

import time
from collections import Counter
from functools import partial

from odoo import fields, models
from odoo.exceptions import UserError

from ..after_commit import clear_quiet, is_quiet, try_after_commit
from .generation_request import OPEN_STATES

MOST = 200
"""At once; a run of the outbox takes as many."""

START_SECONDS = 20.0
"""After the commit no further start begins; the outbox takes the rest, within a minute."""

MOST_REASONS = 5


class GenerationMass(models.Model):
    """One request raises why it cannot be done; of many the others are done, and a message says it.

    Each is done in a savepoint. A conflict with another transaction is no reason: Odoo runs the
    whole call again.
    """

    _inherit = "duragen.generation.request"

    def action_retry(self, shown_price=None):
        """Ask for the same images once more, in new requests; opens the new one, or their list.

        What a form showed is the context's `shown_price`. Many are asked for at today's prices.
        """
        if len(self) == 1:
            shown = self.env.context.get("shown_price") if shown_price is None else shown_price
            return super().action_retry(shown)
        done, refused = self._each(lambda one: one.action_retry()["res_id"])
        opened = {
            "type": "ir.actions.act_window",
            "name": self.env._("Tried Again"),
            "res_model": self._name,
            "domain": [("id", "in", done)],
            "view_mode": "list,form",
            "views": [(False, "list"), (False, "form")],
        }
        return self._said(done, refused, opened if done else None)

    def action_cancel(self):
        """Cancel requests: drafts at once, the others as soon as Duragen has been asked."""
        if len(self) == 1:
            return super().action_cancel()

        def cancel(one):
            if one.state not in ("draft", *OPEN_STATES):
                raise UserError(one.env._("It has ended already."))
            return one.action_cancel()

        return self._said(*self._each(cancel))

    def action_refresh(self):
        """Ask Duragen about these requests now. Raises UserError when it cannot be reached."""
        if len(self) <= 1:
            return super().action_refresh()
        self._check_number()
        asked = self.filtered(lambda each: each.state == "started")
        super().action_refresh()
        why = self.env._("Duragen knows only what is being made.")
        return self._said(asked.ids, [why] * len(self - asked))

    def action_try_now(self):
        """Start what waits right after this transaction, before its turn in the outbox comes."""
        done, refused = ([], [])
        if len(self) == 1:
            done = self._due_now().ids
        else:
            done, refused = self._each(lambda one: one._due_now().id)
        self.env.cr.postcommit.add(partial(_start_all, self.env.registry, tuple(done)))
        return self._said(done, refused)

    def _due_now(self):
        request = self._owned()
        request._lock()
        if request.state != "requested":
            raise UserError(self.env._("Only what waits can be tried now."))
        request.next_start_at = fields.Datetime.now()
        return request

    def _check_number(self):
        if len(self) > MOST:
            raise UserError(self.env._("At most %s at once, please.", MOST))

    def _each(self, call):
        """What `call` returned for each that it could be done with, and why not for each other."""
        self._check_number()
        done, refused = [], []
        # In one order, so that two of these at once do not wait for each other.
        for request in self.sorted("id"):
            try:
                with self.env.cr.savepoint():
                    done.append(call(request))
            except UserError as error:
                refused.append(str(error))
        return done, refused

    def _said(self, done, refused, then=None):
        """The action that follows: `then`, after a message when some were refused."""
        if not refused:
            return then or True
        reasons = [f"{number}: {why}" for why, number in Counter(refused).most_common()]
        more = ["…"] if len(reasons) > MOST_REASONS else []
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "warning",
                "sticky": True,
                "title": self.env._(
                    "Done: %(done)s. Not done: %(refused)s.", done=len(done), refused=len(refused)
                ),
                "message": " ".join([*reasons[:MOST_REASONS], *more]),
                "next": then or {"type": "ir.actions.act_window_close"},
            },
        }


def _start_all(registry, request_ids):
    """In a hook after the commit: until Duragen cannot be reached, or the time is over."""
    until = time.monotonic() + START_SECONDS
    # Somebody wants it tried now, whatever the last call found.
    clear_quiet(registry)
    for request_id in request_ids:
        if time.monotonic() > until or is_quiet(registry):
            return
        try_after_commit(registry, request_id, "_start")
