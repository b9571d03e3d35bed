"""What the backend's views show of an image."""

from odoo import api, fields, models

from ..sizes import pixels


class GeneratedImageForm(models.Model):
    """The image's size in words, and its download."""

    _inherit = "duragen.generated.image"

    dimensions = fields.Char(compute="_compute_dimensions")

    @api.depends("width", "height")
    def _compute_dimensions(self):
        for image in self:
            image.dimensions = pixels(image.width, image.height)

    def action_download(self):
        """The image as a file, so the page stays; the address looks itself who may have it."""
        self.ensure_one()
        self.check_access("read")
        return {"type": "ir.actions.act_url", "url": self.download_url, "target": "self"}
