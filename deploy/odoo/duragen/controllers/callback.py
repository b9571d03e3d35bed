"""The callback routes, where Duragen delivers outcomes over HTTP. One handler serves them all."""

import json
import logging

from odoo import http
from odoo.exceptions import MissingError, UserError, ValidationError
from odoo.http import request

from ..signatures import UnauthorizedError, check
from ..throttling import Failures, network_of

_failures = Failures()

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
        auth="none",  # before `check`, looking the public user up would be a query for a stranger
        methods=["POST"],
        csrf=False,
        save_session=False,
        readonly=False,
    )
    def callback(self):
        """200 {"status": "applied" or "repeated"}; 401, 404, 422; 503 asks for a later repeat.

        429 is for those that were not believed again and again. Who is believed never gets it, nor
        who comes from where one was that is: Duragen's other token, or others behind one proxy.
        """
        connection = request.env["duragen.connection"].sudo()
        body = request.httprequest.get_data()
        tokens = connection._in_force("callback_token")
        secrets = connection._in_force("signing_secret")
        try:
            check(request.httprequest.headers, body, tokens, secrets)
        except UnauthorizedError as error:
            return _refused(error)
        _failures.believe(network_of(request.httprequest.remote_addr))
        request.env["ir.http"]._auth_method_public()
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


def _refused(error):
    """Nothing was asked of the database yet but what Odoo itself asks; a flood fills no log."""
    network = network_of(request.httprequest.remote_addr)
    wait = _failures.add(network)
    if wait and not _failures.is_believed(network):
        answer = _problem(429, f"too many callbacks from here were refused; the last one: {error}")
        answer.headers["Retry-After"] = str(wait)
        return answer
    if not wait:
        _logger.warning("a callback was refused: %s", error)
    return _problem(401, str(error))


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
