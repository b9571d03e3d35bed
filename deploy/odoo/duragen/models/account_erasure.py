"""Erasing all of one user: at once what one transaction can, the rest by the cron."""

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from .generation_request import OPEN_STATES

AT_ONCE = 100
"""Requests that the button erases by itself."""


class AccountErasure(models.Model):
    """What is asked for on the account of a user."""

    _inherit = "duragen.account"

    erase_up_to = fields.Integer(
        "Being erased",
        readonly=True,
        copy=False,
        help="The requests of this user up to this one (its ID) are erased, as fast as Odoo can.",
    )

    def action_erase_words(self):
        """Erase the words and images of all that these users asked for in their companies.

        For managers. Raises UserError when something is under way: then nothing is erased. The
        accounts with their entries stay.
        """
        if not (self.env.su or self.env.user.has_group("duragen.group_manager")):
            raise AccessError(self.env._("Only managers may erase all of a user."))
        self.check_access("read")
        requests = self.env["duragen.generation.request"]
        for account in self:
            theirs = account.sudo()._theirs()
            if open_ones := requests.sudo().search([*theirs, ("state", "in", OPEN_STATES)]):
                raise UserError(
                    self.env._(
                        "Under way: %(number)s of %(user)s. Cancel them first, and wait for their"
                        " end.",
                        number=len(open_ones),
                        user=account.sudo().user_id.name,
                    )
                )
            left = [*theirs, ("erased_at", "=", False)]
            found = requests.sudo().search(left, order="id", limit=AT_ONCE + 1)
            found[:AT_ONCE].with_env(self.env).action_erase_words()
            if len(found) > AT_ONCE:
                newest = requests.sudo().search(left, order="id desc", limit=1)
                account.sudo().erase_up_to = newest.id
                self.env.ref("duragen.cron_erase").sudo()._trigger()
        return True

    def _theirs(self):
        company = ("company_id", "=", self.company_id.id)
        return [("user_id", "=", self.user_id.id), company]

    @api.model
    def _erasure_domains(self):
        """For each account that is being erased: its requests."""
        return [each._being_erased() for each in self._with_erasures()]

    @api.model
    def _with_erasures(self):
        return self.sudo().search([("erase_up_to", ">", 0)])

    def _being_erased(self):
        return [*self._theirs(), ("id", "<=", self.erase_up_to)]

    @api.model
    def _close_erasures(self):
        """Those of which nothing is left to erase."""
        requests = self.env["duragen.generation.request"].sudo()
        for account in self._with_erasures():
            left = [*account._being_erased(), ("erased_at", "=", False)]
            if not requests.search_count(left, limit=1):
                account.erase_up_to = 0
