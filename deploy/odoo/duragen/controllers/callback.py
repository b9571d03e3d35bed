"""The callback routes, where Duragen delivers outcomes over HTTP. One handler serves them all."""

import json
import logging

from odoo import http
from odoo.exceptions import MissingError, UserError, ValidationError
from odoo.http import request
from werkzeug.exceptions import abort

from ..signatures import UnauthorizedError, check, check_headers
from ..throttling import Failures, network_of
from ..wire import MAX_IMAGE_BYTES

_failures = Failures()

_logger = logging.getLogger(__name__)

PATHS = [
    "/duragen/v1/callback",
    # spec: generation-failure.sequence, step 4; event-driven-architecture, Callback API
    "/influencegen/n8ncallback/aiimage",
    "/api/v1/influencegen/ai-image-callback",
]

# spec: error-handling.sequence, 8.1, 9.1
FAILURE_PATH = "/ai/generation/failure"


MAX_BODY_BYTES = MAX_IMAGE_BYTES * 4 // 3 + 64 * 1024
"""The largest image in base64, and what stands around it."""


def before_the_body(_controller):
    """How many bytes Odoo may read; who cannot be Duragen is answered before any of them.

    Odoo calls it before it looks at the body, also before it takes one for a form.
    """
    try:
        check_headers(request.httprequest.headers, *known_secrets())
    except UnauthorizedError as error:
        abort(refused(error))
    return MAX_BODY_BYTES


def known_secrets():
    """The tokens and the signing secrets that are believed."""
    connection = request.env["duragen.connection"].sudo()
    return connection._in_force("callback_token"), connection._in_force("signing_secret")


class Callback(http.Controller):
    """EVT-AIG-002 and EVT-AIG-003 by POST."""

    @http.route(
        [*PATHS, FAILURE_PATH],
        type="http",
        auth="none",  # before `check`, looking the public user up would be a query for a stranger
        methods=["POST"],
        csrf=False,
        save_session=False,
        readonly=False,
        max_content_length=before_the_body,
    )
    def callback(self):
        """200 {"status": "applied" or "repeated"}; 401, 404, 413, 422; 503 asks for a repeat later.

        429 is for those that were not believed again and again. Who is believed never gets it.
        """
        body = request.httprequest.get_data()
        try:
            check(request.httprequest.headers, body, *known_secrets())
        except UnauthorizedError as error:
            return refused(error)
        _failures.believe(network_of(request.httprequest.remote_addr))
        request.env["ir.http"]._auth_method_public()
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            return _problem(422, "the body must be JSON in UTF-8")
        try:
            requests = request.env["duragen.generation.request"].sudo()
            is_failure = request.httprequest.path == FAILURE_PATH
            applied = (requests._apply_failure if is_failure else requests.apply_event)(event)
        except UserError as error:
            # Of a refused event nothing may be committed. Not a savepoint, which is two more
            # queries for each event that is applied: this request does nothing else.
            request.env.cr.rollback()
            return _problem(_status(error), _text(error))
        return request.make_json_response(applied)


def refused(error):
    """The answer to who is not believed.

    Nothing was asked of the database yet but what Odoo itself asks; a flood fills no log.
    """
    refusal = _failures.add(network_of(request.httprequest.remote_addr))
    if refusal.is_news:
        _logger.warning("a callback was refused: %s", error)
    if not refusal.wait:
        return _problem(401, str(error))
    answer = _problem(429, f"too many callbacks from here were refused; the last one: {error}")
    answer.headers["Retry-After"] = str(refusal.wait)
    return answer


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
