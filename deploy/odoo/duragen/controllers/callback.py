"""The callback routes, where Duragen delivers outcomes over HTTP. One handler serves them all."""

import json
import logging

from odoo import http
from odoo.exceptions import MissingError, UserError, ValidationError
from odoo.http import request

from ..signatures import UnauthorizedError, check

_logger = logging.getLogger(__name__)

PATHS = [
    "/duragen/v1/callback",
    # spec: generation-failure.sequence, step 4; event-driven-architecture, Callback API
    "/influencegen/n8ncallback/aiimage",
    "/api/v1/influencegen/ai-image-callback",
]


class Callback(http.Controller):
    """EVT-AIG-002 and EVT-AIG-003 by POST."""

    @http.route(
        PATHS,
        type="http",
        auth="public",
        methods=["POST"],
        csrf=False,
        save_session=False,
        readonly=False,
    )
    def callback(self):
        """200 {"status": "applied" or "repeated"}; 401, 404, 422; 503 asks for a later repeat."""
        connection = request.env["duragen.connection"].sudo()
        body = request.httprequest.get_data()
        tokens = connection._in_force("callback_token")
        secrets = connection._in_force("signing_secret")
        try:
            check(request.httprequest.headers, body, tokens, secrets)
        except UnauthorizedError as error:
            _logger.warning("a callback was refused: %s", error)
            return _problem(401, str(error))
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            return _problem(422, "the body must be JSON in UTF-8")
        try:
            applied = request.env["duragen.generation.request"].sudo().apply_event(event)
        except UserError as error:
            # Of a refused event nothing may be committed. Not a savepoint, which is two more
            # queries for each event that is applied: this request does nothing else.
            request.env.cr.rollback()
            return _problem(_status(error), _text(error))
        return request.make_json_response(applied)


def _status(error):
    if isinstance(error, MissingError):
        return 404
    return 422 if isinstance(error, ValidationError) else 503


def _text(error):
    return str(error.args[0])


def _problem(status, detail):
    return request.make_json_response(
        {"error": {"status": status, "detail": detail}}, status=status
    )
