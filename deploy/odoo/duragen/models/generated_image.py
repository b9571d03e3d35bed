"""Generated images: what they are, and where their bytes are kept."""

import base64
import io

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools.misc import hash_sign, verify_hash_signed
from PIL import (
    Image,
    WebPImagePlugin,  # Odoo lets PIL load only the formats that are imported by name
)

MEDIA_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
}
"""What a browser may show; anything else is a download, since an SVG could hold a program."""


THUMBNAIL_PIXELS = 512
MAX_PIXELS = 50_000_000
"""The largest picture that is made small here; Odoo's own bound for images."""

JPEG = b"\xff\xd8"
SIGNED_LINK_HOURS = 1
_SCOPE = "duragen.image"


class GeneratedImage(models.Model):
    """The image of a request; its bytes are in Odoo (`data`), or were left in S3 (`s3_key`)."""

    _name = "duragen.generated.image"
    _inherit = "duragen.guarded"
    _description = "Generated Image"
    _order = "id desc"
    _rec_name = "request_id"

    request_id = fields.Many2one(
        "duragen.generation.request", required=True, readonly=True, ondelete="restrict"
    )
    # Computed before the row is written: otherwise each image would be written twice.
    user_id = fields.Many2one(related="request_id.user_id", store=True, index=True, precompute=True)
    company_id = fields.Many2one(related="request_id.company_id", store=True, precompute=True)
    prompt = fields.Text(related="request_id.prompt")
    model_id = fields.Many2one(related="request_id.model_id", store=True, precompute=True)
    format = fields.Char(required=True, readonly=True)
    size = fields.Integer("Size (bytes)", required=True, readonly=True)
    width = fields.Integer("Width (pixels)", required=True, readonly=True)
    height = fields.Integer("Height (pixels)", required=True, readonly=True)
    sha256 = fields.Char("SHA-256", required=True, readonly=True)
    s3_key = fields.Char("S3 key", readonly=True)
    data = fields.Binary("Image", attachment=True, readonly=True)
    has_data = fields.Boolean(
        "In Odoo", readonly=True, help="The bytes lie in Odoo; otherwise they were left in S3."
    )
    thumbnail = fields.Binary(attachment=True, readonly=True, help="Made when first looked at.")
    image_url = fields.Char(compute="_compute_urls")
    thumbnail_url = fields.Char(compute="_compute_urls")
    download_url = fields.Char(compute="_compute_urls")

    def init(self):
        """One image per request, also when its outcome comes twice at once."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_generated_image_request_unique"
            " ON duragen_generated_image (request_id)"
        )

    @api.depends("request_id")
    def _compute_urls(self):
        for image in self:
            image.image_url = f"/duragen/image/{image.id}"
            image.thumbnail_url = f"/duragen/image/{image.id}/thumbnail"
            image.download_url = f"/duragen/image/{image.id}?download=1"

    @property
    def media_type(self):
        """What the bytes are served as."""
        return MEDIA_TYPES.get(self.format, "application/octet-stream")

    @property
    def file_name(self):
        """The name that a download gets."""
        return f"{self.request_id.request_uuid}.{self.format}"

    def _small(self):
        """A JPEG of at most 512 pixels a side, for lists; made when first looked at, then kept.

        Raises S3Error (the bytes cannot be read), UserError (they are not a picture).
        """
        self.ensure_one()
        if not self.thumbnail:
            small = _shrunk(self.env, self._bytes())
            self.thumbnail = base64.b64encode(small)
        return self

    def image(self):
        """The bytes of the image, for other modules: from Odoo, or from the store.

        Raises AccessError for those who may not read it, and S3Error.
        """
        self.ensure_one()
        self.check_access("read")
        return self.sudo()._bytes()

    def _bytes(self):
        if not self.has_data:
            return self._from_s3()
        return base64.b64decode(self.with_context(bin_size=False).data)

    def _from_s3(self):
        return self.env["duragen.connection"]._store().get(self.s3_key, self.size)

    def _signed_url(self):
        """An absolute link for those who have no login here, valid for an hour."""
        self.ensure_one()
        base = self.env["ir.config_parameter"].sudo().get_param("web.base.url").rstrip("/")
        token = hash_sign(self.env, _SCOPE, self.id, expiration_hours=SIGNED_LINK_HOURS)
        return f"{base}{self.image_url}?token={token}"

    def _is_signed_by(self, token):
        """Whether `_signed_url` made `token` for this image, and it is still valid."""
        try:
            return verify_hash_signed(self.env, _SCOPE, token) == self.id
        except ValueError:  # not even base64
            return False

    @api.model_create_multi
    def create(self, vals_list):
        """`has_data` follows `data`, so that lists need not look into the attachments."""
        return super().create([{**vals, "has_data": bool(vals.get("data"))} for vals in vals_list])


def _shrunk(env, raw):
    """A small JPEG of a picture. Raises UserError when the picture cannot be opened."""
    try:
        with Image.open(io.BytesIO(raw)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UserError(env._("The picture is too large."))
            picture.draft("RGB", (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            whole = picture.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(env._("The picture cannot be opened.")) from error
    flat = Image.new("RGB", whole.size, "white")
    flat.paste(whole, mask=whole.getchannel("A"))
    small = io.BytesIO()
    flat.save(small, "JPEG", quality=80, optimize=True)
    return small.getvalue()
