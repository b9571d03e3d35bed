"""What a cancellation costs: nothing before the image service has the request, its price after."""

from odoo import api, fields, models

from .generation_request import OPEN_STATES


class GenerationCancellation(models.Model):
    """The platform's policy for what a user takes back (the setting `user_cancellations`).

    capture   charged when the image service may already be paid for it, as the outcome says
    release   free

    What a manager or an operator cancels, and what was never sent, is free under both.
    """

    _inherit = "duragen.generation.request"

    canceled_by_id = fields.Many2one("res.users", readonly=True, copy=False)
    cancel_warning = fields.Char(compute="_compute_cancel_warning")

    def _is_cancellation_paid(self, failure):
        """Whether the user pays for this outcome of his cancellation, or of his deadline."""
        at_deadline = self.cancel_at and self.cancel_at <= fields.Datetime.now()
        by_him = self.canceled_by_id == self.user_id or (at_deadline and not self.canceled_by_id)
        return failure.may_have_been_paid and bool(by_him) and self._cancellations_cost()

    def _cancellations_cost(self):
        return self.env["duragen.connection"]._setting("user_cancellations") != "release"

    @api.depends("state", "price", "cancel_requested", "user_id")
    @api.depends_context("lang", "uid")
    def _compute_cancel_warning(self):
        """For the one who asked for it: what others cancel is free."""
        for request in self:
            his = request.user_id == self.env.user
            request.cancel_warning = his and request._warning_before_cancel()

    def _warning_before_cancel(self):
        """What the user must know before he cancels; empty when it is free, or asked for."""
        if not self._is_cancellation_risky():
            return ""
        return self.env._(
            "The image service may already be paid for it. Your credits are then charged (%s).",
            self.price,
        )

    def _is_cancellation_risky(self):
        """Whether the price may be lost when the user cancels now."""
        is_open = self.state in OPEN_STATES and not self.cancel_requested
        return bool(is_open and self.price and self._cancellations_cost())

    @api.depends("state", "charged", "price")
    def _compute_friendly_message(self):
        """The message of the failure, and why a cancellation was charged."""
        done = super()._compute_friendly_message()
        for request in self.filtered(lambda each: each.state == "canceled" and each.charged):
            why = self.env._(
                "The image service may already be paid for it, so it was charged (credits: %s).",
                request.price,
            )
            request.friendly_message = " ".join(filter(None, [request.friendly_message, why]))
        return done

    def _note_of(self, failure):
        """Why a failure is charged, for the ledger, in its user's language; None: see the code."""
        if failure.code != "CANCELED":
            return None
        user = self.with_context(lang=self.user_id.lang)
        return user.env._("Canceled when the image service may already have been paid")
