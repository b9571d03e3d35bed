"""Erasing what a person wrote, and the image of it. The ledger keeps request and entries."""

import logging

from odoo import api, fields, models
from odoo.addons.bus.models.bus import channel_with_db, json_dump
from odoo.exceptions import UserError

from .generation_follow_up import FOLLOWS
from .generation_request import OPEN_STATES

_logger = logging.getLogger(__name__)

ERASED = "(erased)"
_TEXTS = ("negative_prompt", "event", "error_message", "user_message", "start_error")
_TEXTS += ("progress_note", "reference_digest", "follow_error")


class GenerationErasure(models.Model):
    """Odoo's part of what `duragen erase` does elsewhere."""

    _inherit = "duragen.generation.request"

    erased_at = fields.Datetime(
        readonly=True, copy=False, help="Since then its words and its image are gone."
    )
    erasure_waits = fields.Boolean(
        "To erase at Duragen",
        readonly=True,
        copy=False,
        index="btree_not_null",
        groups="duragen.group_manager",
        help="Erased here, and perhaps not yet in Duragen's history and store.",
    )
    erase_command = fields.Char(
        compute="_compute_erase_command",
        groups="duragen.group_manager",
        help="For an operator of Duragen, on the worker's machine.",
    )

    @api.depends("erasure_waits", "request_uuid")
    def _compute_erase_command(self):
        for request in self:
            waits = request.erasure_waits
            request.erase_command = request._command_to_erase() if waits else False

    def action_erase_words(self):
        """Erase prompts, error texts and images of these requests; there is no undo.

        For the one who asked for them, and for managers. Drafts are deleted. What an outcome brings
        afterwards is not kept either. Raises UserError for one that is under way: then nothing is
        erased.
        """
        requests = self._owned()
        for request in requests:
            request._lock()
        if any(request.state in OPEN_STATES for request in requests):
            raise UserError(self.env._("It is under way: cancel it first, and wait for its end."))
        requests._erase()
        return True

    def action_show_erase_command(self):
        """What an operator of Duragen runs to erase these there too; for managers.

        Raises UserError when none of them was erased here.
        """
        self._check_manager()
        erased = self._owned().filtered("erasure_waits")
        if not erased:
            raise UserError(self.env._("None of these waits to be erased at Duragen."))
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "title": self.env._("Run this where Duragen's worker runs"),
                "message": erased._command_to_erase(),
                "type": "info",
                "sticky": True,
            },
        }

    def action_erased_there(self):
        """Note that an operator has erased these at Duragen, too; for managers."""
        self._check_manager()
        self._owned().erasure_waits = False
        return True

    def _command_to_erase(self):
        return " ".join(["duragen", "erase", *self.mapped("request_uuid"), "--yes"])

    def _erase(self):
        """Erase these (sudo), which are locked and have ended; drafts are deleted."""
        drafts = self.filtered(lambda each: each.state == "draft")
        requests = self - drafts
        drafts.unlink()
        requests._erase_copies()
        requests.image_ids.unlink()
        requests.write(
            {
                "prompt": ERASED,
                **dict.fromkeys(_TEXTS, False),
                "erased_at": fields.Datetime.now(),
                "erasure_waits": True,
                **dict.fromkeys((*FOLLOWS, "next_follow_at"), False),
            }
        )
        requests._notify_pages()
        _logger.info(
            "%s erased the words of generations %s, and %s drafts",
            self.env.user.login,
            requests.mapped("request_uuid"),
            len(drafts),
        )

    def _erase_copies(self):
        """What was sent of it: to open pages (kept for a day), to webhooks, to people."""
        if not self:
            return
        of_these = [("model", "=", self._name), ("res_id", "in", self.ids)]
        messages = self.env["mail.message"].sudo().search(of_these) | self.record_message_ids
        messages.attachment_ids.unlink()
        messages.unlink()
        # Also those that are done: Odoo keeps them.
        about = [("res_model", "=", self._name), ("res_id", "in", self.ids)]
        activities = self.env["mail.activity"].sudo().with_context(active_test=False)
        activities.search(about).unlink()
        users = self.user_id.mapped("partner_id")
        channels = [json_dump(channel_with_db(self.env.cr.dbname, each)) for each in users]
        self.env.cr.execute(
            "DELETE FROM bus_bus WHERE channel = ANY(%s) AND message LIKE ANY(%s)",
            [channels, [f"%{request.request_uuid}%" for request in self]],
        )
        deliveries = self.env["duragen.webhook.delivery"].sudo()
        answered = [("request_id", "in", self.ids), ("last_answer", "!=", False)]
        deliveries.search(answered).last_answer = False
