"""Where Duragen asks for a webhook to send, and says what came of it: not for receivers."""

import json

from odoo import http
from odoo.http import request

from ..signatures import UnauthorizedError, check
from .callback import before_the_body, known_secrets, refused

MAX_BODY_BYTES = 16 * 1024


def _before_the_body(controller):
    before_the_body(controller)
    return MAX_BODY_BYTES


class Webhooks(http.Controller):
    """`{"do": "prepare" or "report", "deliveryId", "attempt", …}` by POST."""

    @http.route(
        "/duragen/v1/webhooks",
        type="http",
        auth="none",
        methods=["POST"],
        csrf=False,
        save_session=False,
        readonly=False,
        max_content_length=_before_the_body,
    )
    def webhooks(self):
        """200 with the request to send, or {"failing": bool}; 401, 422; as the callback."""
        body = request.httprequest.get_data()
        try:
            check(request.httprequest.headers, body, *known_secrets())
        except UnauthorizedError as error:
            return refused(error)
        request.env["ir.http"]._auth_method_public()
        said = _read(body)
        if said is None:
            answer = {"error": {"status": 422, "detail": "do, deliveryId and attempt are needed"}}
            return request.make_json_response(answer, status=422)
        deliveries = request.env["duragen.webhook.delivery"].sudo()
        if said["do"] == "prepare":
            return request.make_json_response(deliveries._prepared(said["deliveryId"]))
        return request.make_json_response(
            deliveries._reported(said["deliveryId"], said["attempt"], said)
        )


def _read(body):
    """What was said, None when it makes no sense."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("deliveryId"), str):
        return None
    if type(said.get("attempt")) is not int or said.get("do") not in ("prepare", "report"):
        return None
    ends = ("delivered", "failed", "gone", "dropped")
    return None if said["do"] == "report" and said.get("end") not in ends else said
