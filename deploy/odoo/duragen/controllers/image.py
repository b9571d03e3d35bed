"""Images, for those who may see them: streamed from Odoo, or by a fresh link to S3."""

from odoo import http
from odoo.exceptions import AccessError, MissingError
from odoo.http import request

from ..models.generated_image import MEDIA_TYPES
from ..s3 import S3Error

LARGEST_THUMBNAIL = 1024


class Image(http.Controller):
    """One route for every image; the record rules say who sees which."""

    @http.route("/duragen/image/<int:image_id>", type="http", auth="public", methods=["GET"])
    def image(self, image_id, size=None, download=None, token=None):
        """The image; `size` asks for at most so many pixels a side, `download` for a file.

        For whoever may read its record, and for bearers of a signed link; 404 for all others.
        """
        image = request.env["duragen.generated.image"].browse(image_id)
        if not (token and image.sudo().is_signed_by(token)):
            try:
                image.check_access("read")
            except (AccessError, MissingError):
                raise request.not_found() from None
        image = image.sudo().exists()
        if not image:
            raise request.not_found()
        if image.has_data:
            return _stream(image, size, download)
        try:
            link = request.env["duragen.connection"].store().link(image.s3_key)
        except S3Error:
            return request.make_response("The image cannot be reached at the moment.", status=503)
        return request.redirect(link, code=302, local=False)


def _stream(image, size, download):
    binary = request.env["ir.binary"]
    shown = image.format in MEDIA_TYPES
    side = int(size) if size and size.isascii() and size.isdigit() and len(size) < 6 else 0
    if side and shown:
        side = min(side, LARGEST_THUMBNAIL)
        stream = binary._get_image_stream_from(image, "data", width=side, height=side)
    else:
        stream = binary._get_stream_from(
            image, "data", filename=image.file_name, mimetype=image.media_type
        )
    # The bytes of an image never change, so a browser may keep them; shared caches may not.
    stream.public = False
    answer = stream.get_response(as_attachment=bool(download) or not shown, max_age=86_400)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer
