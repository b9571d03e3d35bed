"""What a web app calls with its user's session. spec: error-handling.sequence, steps 1 and 2."""

import json

from odoo import http
from odoo.http import request

MAX_BODY_BYTES = 256 * 1024


class Generations(http.Controller):
    """`/api/v1/generations`: as `duragen.api`, for whoever is logged in."""

    @http.route(
        "/api/v1/generations",
        type="http",
        auth="public",
        methods=["POST"],
        csrf=False,  # no form of another page can send JSON: see `_refused`
        save_session=False,
        readonly=False,
        max_content_length=MAX_BODY_BYTES,
    )
    def submit(self):
        """202 {"requestId", "status", "price", …}; 401, 402, 403, 409, 415, 422, 429.

        The body has EVT-AIG-001's names; the header `Idempotency-Key` makes a repeat harmless.
        """
        if refusal := _refused():
            return refusal
        headers = request.httprequest.headers
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            return _problem(415, "send Content-Type: application/json")
        try:
            params = json.loads(request.httprequest.get_data())
        except (ValueError, RecursionError):
            return _problem(400, "the body must be JSON in UTF-8")
        api, user = request.env["duragen.api"].sudo(), request.env.user
        reference = headers.get("Idempotency-Key")
        if reference is not None and not reference.strip():
            # As no key it would let each repeat be charged.
            return _problem(422, "Idempotency-Key: must not be empty")
        return _answer(
            api._served(user, lambda api, user: api._submitted(user, params, reference)), 202
        )

    @http.route(
        "/api/v1/generations/<path:request_id>",  # also what is none: 404 as JSON, not a page
        type="http",
        auth="public",
        methods=["GET"],
        save_session=False,
    )
    def status(self, request_id):
        """200 with the request; 401, 403, 404."""
        if refusal := _refused():
            return refusal
        api = request.env["duragen.api"].sudo()
        return _answer(
            api._served(request.env.user, lambda api, user: api._view(api._own(user, request_id))),
            200,
        )


def _refused():
    """401 for who is not logged in. Not auth="user", which leads programs to a page."""
    if request.env.user._is_public():
        return _problem(401, "log in first")
    return None


def _answer(found, status):
    if not found["ok"]:
        answer = _problem(found["httpStatus"], found["message"], found["error"])
        if found["retryAfter"]:
            answer.headers["Retry-After"] = str(found["retryAfter"])
        return answer
    body = {name: value for name, value in found.items() if name != "ok"}
    return request.make_json_response(
        {"requestId": body.pop("jobId"), **body},
        headers=[("Cache-Control", "no-store")],
        status=status,
    )


def _problem(status, detail, code=None):
    problem = {"status": status, "detail": detail, **({"code": code} if code else {})}
    return request.make_json_response({"error": problem}, status=status)
