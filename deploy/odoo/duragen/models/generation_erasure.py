"""Erasing what a person wrote, and the image of it. The ledger keeps request and entries."""

from odoo import fields, models
from odoo.exceptions import UserError

from .generation_request import OPEN_STATES

ERASED = "(erased)"
_TEXTS = ("negative_prompt", "event", "error_message", "user_message", "start_error")
_TEXTS += ("progress_note", "reference_digest")


class GenerationErasure(models.Model):
    """Odoo's part of what `duragen erase` does elsewhere."""

    _inherit = "duragen.generation.request"

    erased_at = fields.Datetime(
        readonly=True, copy=False, help="Since then its words and its image are gone."
    )

    def action_erase_words(self):
        """Erase prompts, error texts and images of one's own requests; managers: of anybody's.

        There is no undo.

        Drafts are deleted. What an outcome brings afterwards is not kept either. Raises UserError
        for one that is under way: then nothing is erased.
        """
        requests = self._owned()
        for request in requests:
            request._lock()
        if any(request.state in OPEN_STATES for request in requests):
            raise UserError(self.env._("It is under way: cancel it first, and wait for its end."))
        drafts = requests.filtered(lambda each: each.state == "draft")
        drafts.unlink()
        requests -= drafts
        requests.image_ids.unlink()
        requests.write(
            {
                "prompt": ERASED,
                **dict.fromkeys(_TEXTS, False),
                "erased_at": fields.Datetime.now(),
            }
        )
        # What open pages were sent is kept for a day.
        for request in requests:
            sent = [("message", "like", f'"{request.request_uuid}"')]
            self.env["bus.bus"].sudo().search(sent).unlink()
        requests._notify_pages()
        return True
