"""Grant credits: a manager adds credits to a user's account."""

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..wording import credits_in_words


class GrantCredits(models.TransientModel):
    """Credits for one user in one company; a negative number takes credits away."""

    _name = "duragen.grant.credits"
    _inherit = "duragen.guarded"
    _description = "Grant Credits"

    user_id = fields.Many2one("res.users", required=True)
    company_id = fields.Many2one(
        "res.company", required=True, default=lambda self: self.env.company
    )
    credits = fields.Integer(
        required=True, default=10, help="A negative number takes credits away."
    )
    note = fields.Char(help="The user reads it in the ledger.")
    balance = fields.Integer("Balance now", compute="_compute_balance")
    balance_after = fields.Integer("Balance then", compute="_compute_balance")

    @api.depends("user_id", "company_id", "credits")
    def _compute_balance(self):
        accounts = self.env["duragen.account"]
        for grant in self:
            known = grant.user_id and grant.company_id
            grant.balance = accounts._balance_of(grant.user_id, grant.company_id) if known else 0
            grant.balance_after = grant.balance + grant.credits

    def action_grant(self):
        """Book the grant, and show the account. Raises UserError for 0, or if too few are there."""
        self.ensure_one()
        self.check_access("write")
        if not self.credits:
            raise UserError(self.env._("Enter a number of credits other than 0."))
        if self.credits < 0 and self.balance_after < 0:
            left = credits_in_words(self.env, self.balance)
            raise UserError(
                self.env._("There is not so much to take away: the account has %s.", left)
            )
        if self.company_id not in self.env.companies:
            raise UserError(self.env._("Choose a company that you work in."))
        if self.company_id not in self.user_id.company_ids:
            raise UserError(
                self.env._(
                    "%(user)s does not work in %(company)s.",
                    user=self.user_id.name,
                    company=self.company_id.name,
                )
            )
        account = self.env["duragen.account"]._of(self.user_id, self.company_id)
        account._book("grant", self.credits, note=self.note)
        return {
            "type": "ir.actions.act_window",
            "res_model": "duragen.account",
            "res_id": account.id,
            "view_mode": "form",
        }
