"""What an administrator copies from Odoo into Duragen's settings."""

from odoo import api, fields, models

SECRETS = [("callback_token", "Token"), ("signing_secret", "Signing secret")]


class CopySettings(models.TransientModel):
    """A new secret, and the `[[odoo]]` table; neither is kept here."""

    _name = "duragen.copy.settings"
    _inherit = "duragen.guarded"
    _description = "Settings to Copy"

    shown = fields.Selection(SECRETS, readonly=True)
    secret = fields.Char("New secret", compute="_compute_texts", groups="base.group_system")
    block = fields.Text("Table", compute="_compute_texts", groups="base.group_system")

    @api.depends("shown")
    def _compute_texts(self):
        self.check_access("read")
        connection = self.env["duragen.connection"].sudo()
        for each in self:
            each.secret = connection._setting(each.shown) if each.shown else False
            each.block = connection._odoo_table()
