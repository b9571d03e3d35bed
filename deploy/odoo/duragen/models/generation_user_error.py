"""Users' errors: whether the user pays for one. spec: error-handling.sequence, 9.2 and 9.5."""

from datetime import timedelta

from odoo import api, fields, models

WARNING_LASTS = timedelta(hours=24)
"""From the end of the request that was warned of; the texts below name the figure."""


class GenerationUserError(models.Model):
    """The platform's policy for what a user did wrong.

    release         free
    capture         charged
    after_warning   the first error within a day is free and warns, the next one is charged

    What is canceled is no error; see generation_cancellation.
    """

    _inherit = "duragen.generation.request"

    user_error = fields.Selection(
        [("warned", "Free, with a warning"), ("charged", "Charged after a warning")],
        "User's error",
        readonly=True,
        copy=False,
        help="How it was dealt with, where users are warned before they pay for their errors.",
    )

    def _is_paid_by_user(self, failure):
        """Whether the user pays for this failure; a warning is written down here."""
        if failure.code == "CANCELED":
            return self._is_cancellation_paid(failure)
        policy = self.env["duragen.connection"]._setting("user_errors")
        if not failure.by_policy or policy == "release":
            return False
        if policy == "capture":
            return True
        self.env["duragen.account"]._take_turns(self.user_id)
        self.user_error = "charged" if self._was_warned() else "warned"
        return self.user_error == "charged"

    def _was_warned(self):
        """Whether the user has read within a day that the next error is charged."""
        warned = [
            ("id", "!=", self.id),
            ("user_id", "=", self.user_id.id),
            ("user_error", "!=", False),
            ("ended_at", ">", fields.Datetime.now() - WARNING_LASTS),
        ]
        return bool(self.search_count(warned, limit=1))

    @api.depends("user_error", "price")
    def _compute_friendly_message(self):
        """The message of the failure, and what it cost."""
        done = super()._compute_friendly_message()
        for request in self.filtered("user_error"):
            cost = request._charged_text() if request.user_error == "charged" else self._free_text()
            request.friendly_message = " ".join(filter(None, [request.friendly_message, cost]))
        return done

    def _free_text(self):
        return self.env._(
            "This request was free. If another one of yours fails because of its prompt or"
            " parameters within 24 hours, it will be charged."
        )

    def _charged_text(self):
        return self.env._(
            "This request was charged (credits: %s), because another one of yours had failed like"
            " this within the 24 hours before.",
            self.price,
        )
