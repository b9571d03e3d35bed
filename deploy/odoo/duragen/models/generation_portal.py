"""What people see of a request: facts in one dict, for the page, its live messages and the API."""

from odoo import models

BUS_TYPE = "duragen.generation"


class GenerationPortal(models.Model):
    """A request as its user sees it."""

    _inherit = "duragen.generation.request"

    def portal_values(self):
        """The facts of this request for its user; links are below this Odoo's address.

        No words of ours: a live message comes to pages of any language, and each has its own.
        """
        self.ensure_one()
        # Only what is completed has one; for the others this saves a query.
        images = self.env["duragen.generated.image"]
        image = self.image_id if self.state == "completed" else images
        return {
            "id": self.id,
            "requestId": self.request_uuid,
            "name": self.name,
            "prompt": self.prompt,
            "modelId": self.model_id.id,
            "resolution": self.resolution,
            "state": self.state,
            "imageUrl": image.image_url or False,
            "thumbnailUrl": image.thumbnail_url or False,
            "downloadUrl": image.download_url or False,
            "errorCode": self.error_code or False,
            "retrySuggestion": self.retry_suggestion,
            "charged": self.charged,
            "price": self.price,
            "cancelRequested": self.cancel_requested,
            "cancelPrice": self.price if self._is_cancellation_risky() else 0,
            "erased": bool(self.erased_at),
            "createdAt": iso(self.requested_at),
            "cancelAt": iso(self.cancel_at),
            "startedAt": iso(self.started_at),
            "endedAt": iso(self.ended_at),
        }

    def _says_its_cost(self):
        """Whether the message of a failure says already what it cost."""
        # `user_message` is English, whatever language it is shown in.
        said = "charged" in (self.user_message or "").lower()
        paid_cancellation = self.state == "canceled" and self.charged
        return said or paid_cancellation or bool(self.user_error)

    def _notify_pages(self):
        """Send the request as it is now to the pages that its user has open, after the commit."""
        for request in self:
            user = request.user_id
            # Not as the user: his outcome is applied even if he has lost a right meanwhile.
            facts = request.sudo().portal_values()
            balance = self.env["duragen.account"]._balance_of(user, request.company_id)
            of_account = {"balance": balance, "companyId": request.company_id.id}
            user.partner_id._bus_send(BUS_TYPE, {**facts, **of_account})


def iso(moment):
    """A moment of Odoo's as ISO 8601, in whole seconds; False without one."""
    return moment.isoformat(timespec="seconds") + "Z" if moment else False
