"""The texts of the portal's scripts go to browsers in the user's language."""

from odoo import models


class IrHttp(models.AbstractModel):
    """Names this addon among those whose script texts are translated."""

    _inherit = "ir.http"

    @classmethod
    def _get_translation_frontend_modules_name(cls):
        return [*super()._get_translation_frontend_modules_name(), "duragen"]
