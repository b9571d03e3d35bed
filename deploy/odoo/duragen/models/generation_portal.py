"""What people see of a request: one dict, for the page, for its live messages and for the API."""

from odoo import models

BUS_TYPE = "duragen.generation"


class GenerationPortal(models.Model):
    """A request as its user sees it."""

    _inherit = "duragen.generation.request"

    def portal_values(self):
        """This request for its user: texts in his language, links below this Odoo's address."""
        self.ensure_one()
        labels = dict(self._fields["state"]._description_selection(self.env))
        # Only what is completed has one; for the others this saves a query.
        images = self.env["duragen.generated.image"]
        image = self.image_id if self.state == "completed" else images
        return {
            "id": self.id,
            "requestId": self.request_uuid,
            "name": self.name,
            "prompt": self.prompt,
            "model": self.model_id.sudo().name,
            "resolution": self.resolution,
            "state": self.state,
            "stateLabel": labels[self.state],
            "stateHint": self._hint(),
            "imageUrl": image.image_url or False,
            "thumbnailUrl": image.thumbnail_url or False,
            "downloadUrl": image.download_url or False,
            "userMessage": self.friendly_message or "",
            "errorCode": self.error_code or False,
            "retrySuggestion": self.retry_suggestion,
            "charged": self.charged,
            "cancelRequested": self.cancel_requested,
            "cancelWarning": self._warning_before_cancel(),
            "price": self.price,
            "createdAt": iso(self.requested_at),
            "cancelAt": iso(self.cancel_at),
            "startedAt": iso(self.started_at),
            "endedAt": iso(self.ended_at),
        }

    def _hint(self):
        if self.cancel_requested and self.state in ("requested", "started"):
            return self.env._("Being canceled…")
        return {
            "draft": self.env._("Not submitted yet."),
            "requested": self.env._("Waiting for its turn."),
            "started": self.env._("Your image is being made."),
            "completed": self.env._("Your image is ready."),
            "failed": self.env._("There is no image this time."),
            "canceled": self.env._("It was canceled."),
        }[self.state]

    def _notify_pages(self):
        """Send the request as it is now to the pages that its user has open, after the commit."""
        for request in self:
            user = request.user_id
            # Not as the user: his outcome is applied even if he has lost a right meanwhile.
            seen = request.sudo().with_context(lang=user.lang)
            balance = self.env["duragen.account"]._balance_of(user, request.company_id)
            user.partner_id._bus_send(BUS_TYPE, {**seen.portal_values(), "balance": balance})


def iso(moment):
    """A moment of Odoo's as ISO 8601, in whole seconds; False without one."""
    return moment.isoformat(timespec="seconds") + "Z" if moment else False
