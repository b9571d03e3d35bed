"""What a user does with his gallery: keeps favorites, clears away failures, looks for words."""

from odoo import api, fields, models

LONGEST_SEARCH = 100

_MADE_OR_COMING = [("state", "in", ["requested", "started", "completed"])]
_SHOWN = {
    "all": _MADE_OR_COMING,
    "images": [("state", "=", "completed")],
    "favorites": [("state", "=", "completed"), ("favorite", "=", True)],
    "open": [("state", "in", ["requested", "started"])],
}


class GenerationGallery(models.Model):
    """Marks that only the gallery knows; they change nothing of what was asked for."""

    _inherit = "duragen.generation.request"

    favorite = fields.Boolean(readonly=True, copy=False, help="Its user's own mark.")
    dismissed = fields.Boolean(
        readonly=True, copy=False, help="Its user has read that there is no image."
    )

    @api.model
    def _gallery_filters(self):
        """The names of the filters that `_gallery_domain` takes."""
        return list(_SHOWN)

    @api.model
    def _of_user(self):
        """The domain of what the portal shows of the user's own: neither drafts nor erased ones."""
        # Only the backend has drafts: the portal submits at once what was written.
        mine = [("user_id", "=", self.env.uid), ("state", "!=", "draft")]
        return [*mine, ("erased_at", "=", False)]

    @api.model
    def _gallery_domain(self, show="all", search=""):
        """The domain of the gallery's pictures; `search` finds words of the prompt."""
        words = [("prompt", "ilike", search[:LONGEST_SEARCH])] if search else []
        return [*self._of_user(), *_SHOWN[show], *words]

    @api.model
    def _unread_failures(self, limit):
        """What has no image and was not dismissed, the newest first."""
        ended = [("state", "in", ["failed", "canceled"]), ("dismissed", "=", False)]
        return self.search([*self._of_user(), *ended], limit=limit)

    def _mark(self, **marks):
        """Set `favorite` or `dismissed` of the user's own requests."""
        self._owned().write(marks)
