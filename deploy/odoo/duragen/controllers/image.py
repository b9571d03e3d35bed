"""Serves images to those who may see them: from Odoo itself, or by a fresh link to S3."""

from odoo import http
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.http import request

from ..models.generated_image import MEDIA_TYPES
from ..s3 import S3Error

CACHE_SECONDS = 86_400
"""An image never changes, so its user's browser may keep it; shared caches may not."""


class Image(http.Controller):
    """All images; the record rules decide who sees which."""

    @http.route(
        "/duragen/image/<int(max=2147483647):image_id>", type="http", auth="public", methods=["GET"]
    )
    def image(self, image_id, download=None, token=None):
        """Serve the image; with `download` as a file.

        Whoever may read its record or has a signed link gets it; all others get 404.
        """
        image = _seen(image_id, token)
        # A browser may show only pictures: anything else that has come is a download.
        as_file = bool(download) or image.format not in MEDIA_TYPES
        if not image.has_data:
            name = image.file_name if as_file else None
            return _or_503(lambda: _to(_store().link(image.s3_key, name)))
        return _stream(image, "data", image.file_name, image.media_type, as_file)

    @http.route(
        "/duragen/image/<int(max=2147483647):image_id>/thumbnail",
        type="http",
        auth="public",
        methods=["GET"],
        readonly=False,
    )
    def thumbnail(self, image_id, token=None):
        """Serve a small JPEG, wherever the image is kept; the image itself if none can be made."""
        image = _seen(image_id, token)
        try:
            return _or_503(lambda: _stream(image._small(), "thumbnail", "small.jpg", "image/jpeg"))
        except UserError:
            return self.image(image_id, token=token)


def _seen(image_id, token):
    """The record, in sudo. Raises NotFound for those who may not see it."""
    image = request.env["duragen.generated.image"].browse(image_id)
    if not (token and image.sudo()._is_signed_by(token)):
        try:
            image.check_access("read")
        except (AccessError, MissingError):
            raise request.not_found() from None
    image = image.sudo().exists()
    if not image:
        raise request.not_found()
    return image


def _store():
    return request.env["duragen.connection"]._store()


def _or_503(answer):
    try:
        return answer()
    except S3Error:
        return request.make_response("The image cannot be reached at the moment.", status=503)


def _to(link):
    answer = request.redirect(link, code=302, local=False)
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


def _stream(image, field, name, media_type, as_file=False):
    stream = request.env["ir.binary"]._get_stream_from(
        image, field, filename=name, mimetype=media_type
    )
    stream.public = False
    answer = stream.get_response(as_attachment=as_file, max_age=CACHE_SECONDS)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer
