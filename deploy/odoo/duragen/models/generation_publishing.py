"""Requests by RabbitMQ: until Duragen has read one, nobody but the broker knows of it.

So a Duragen that does not know a request is no proof that it will not be started.
"""

from odoo import fields, models

from .connection import PATIENCE_SECONDS
from .generation_start import PAUSE

MANY = 3
"""Times that it was published and not known after the pause: more than a queue that is long."""


class GenerationPublishing(models.Model):
    """What has to be remembered, so that a cancellation is not lost."""

    _inherit = "duragen.generation.request"

    maybe_published = fields.Boolean(
        readonly=True,
        copy=False,
        groups="duragen.group_manager",
        help="RabbitMQ may have it, so Duragen may start it although it does not know it yet.",
    )

    def _is_first_publishing(self):
        by_broker = self.env["duragen.connection"]._setting("start_path") == "rabbitmq"
        return by_broker and not self.maybe_published and not self.cancel_requested

    def _note_publishing(self):
        """Commit that the broker may have it, and lock it again; False when it waits no more.

        Before it is published: we may die before the broker answers.
        """
        self.maybe_published = True
        self.env.cr.commit()  # pylint: disable=invalid-commit
        waits = self._locked_while_waiting()
        if waits and self.cancel_requested:
            self.maybe_published = False  # canceled meanwhile: nothing is sent
        return waits

    def _publish_to_cancel(self):
        """Publish it again, so that Duragen surely reads it, and cancel it then: once and for all.

        Nobody can tell whether the broker has it already, and what is there will be started.
        """
        from ..starter.client import DuragenError, UnavailableError

        self._renew_callback()
        try:
            self.env["duragen.connection"]._hand_over(self.event, PATIENCE_SECONDS)
        except DuragenError as error:
            self._postpone(str(error))
            return not isinstance(error, UnavailableError)
        self._started()
        self.next_start_at = fields.Datetime.now() + PAUSE
        return True

    def _renew_callback(self):
        """A wrong address makes a dead letter of it, and nobody says so here."""
        url = self.env["duragen.connection"]._callback_url()
        if self.event.get("callbackUrl") != url:
            self.event = {**self.event, "callbackUrl": url}

    def _note_on_lost(self):
        if self.maybe_published and self.check_attempts >= MANY:
            return self.env._(
                "RabbitMQ takes it again and again, and Duragen does not know it: look at `duragen"
                " deadletters list`, or give it up."
            )
        return self.env._("Duragen did not know it; it is started again.")
