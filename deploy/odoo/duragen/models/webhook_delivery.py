"""Webhook deliveries: one event for one endpoint. Duragen makes the attempts, on a schedule."""

import json
import logging
import uuid
from datetime import timedelta
from functools import partial

import psycopg2
from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from ..after_commit import in_own_transaction, is_quiet, try_after_commit
from ..signatures import signed
from ..untouched import untouched
from .connection import PATIENCE_SECONDS
from .generation_start import BATCH, PAUSE

_logger = logging.getLogger(__name__)

KEPT = timedelta(days=30)
STATES = [
    ("waiting", "Waiting"),
    ("sending", "Being sent"),
    ("delivered", "Delivered"),
    ("failed", "Failed"),
    ("dropped", "Dropped"),
]
ATTEMPTS = 8
"""All of Duragen's schedule: after the last one it has failed."""

_NAME = "duragen.webhook.delivery"


class WebhookDelivery(models.Model):
    """From the event's transaction to the receiver's answer."""

    _name = _NAME
    _description = "Webhook Delivery"
    _order = "id desc"
    _rec_name = "event"

    delivery_uuid = fields.Char(
        "Delivery ID", required=True, readonly=True, default=lambda _: str(uuid.uuid4())
    )
    message_code = fields.Char(
        required=True, readonly=True, help="webhook-id: the same when it is sent again."
    )
    endpoint_id = fields.Many2one(
        "duragen.webhook.endpoint", required=True, readonly=True, index=True, ondelete="cascade"
    )
    user_id = fields.Many2one(related="endpoint_id.user_id", store=True, index=True)
    company_id = fields.Many2one(related="endpoint_id.company_id", store=True)
    event = fields.Char(required=True, readonly=True)
    request_id = fields.Many2one(
        "duragen.generation.request", readonly=True, index=True, ondelete="cascade"
    )
    happened_at = fields.Datetime(required=True, readonly=True, default=fields.Datetime.now)
    state = fields.Selection(STATES, required=True, readonly=True, default="waiting")
    next_start_at = fields.Datetime(readonly=True, default=fields.Datetime.now)
    attempts = fields.Integer(readonly=True)
    last_at = fields.Datetime("Last attempt", readonly=True)
    last_status = fields.Integer("Status", readonly=True)
    last_milliseconds = fields.Integer("Milliseconds", readonly=True)
    last_answer = fields.Char("Answer", readonly=True)

    def init(self):
        """Found by its id on the wire; the outbox looks for what waits."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_webhook_delivery_uuid_unique"
            " ON duragen_webhook_delivery (delivery_uuid)"
        )
        self.env.cr.execute(
            "CREATE INDEX IF NOT EXISTS duragen_webhook_delivery_to_start"
            " ON duragen_webhook_delivery (next_start_at) WHERE state = 'waiting'"
        )

    @api.model
    def _made(self, endpoint, event, request=None, message_code=None):
        """A new delivery, that is started after the commit."""
        made = self._written(
            endpoint, [(event, request, message_code or f"msg_{uuid.uuid4().hex}")]
        )
        self.env.cr.postcommit.add(partial(_start_after_commit, self.env.registry, made.id))
        return made

    @api.model
    def _written(self, endpoint, events):
        """Deliveries of these (event, request, message id), which the outbox starts."""
        ours = {**untouched(self), "endpoint_id": endpoint.id}
        return self.sudo().create(
            [
                {
                    **ours,
                    "delivery_uuid": str(uuid.uuid4()),
                    "event": event,
                    "request_id": request.id if request else False,
                    "message_code": message_code,
                }
                for event, request, message_code in events
            ]
        )

    def action_redeliver(self):
        """Send it once more, as a delivery of its own with the same webhook-id."""
        for delivery in self._owned():
            if not delivery.endpoint_id.enabled:
                raise UserError(self.env._("Its webhook is switched off."))
            self._made(
                delivery.endpoint_id, delivery.event, delivery.request_id, delivery.message_code
            )
        return True

    def _run_outbox(self, seconds):
        """Start what a crash or an outage left behind; ends at the first call that is not taken."""
        until = fields.Datetime.now() + timedelta(seconds=seconds)
        due = [("state", "=", "waiting"), ("next_start_at", "<=", fields.Datetime.now())]
        for delivery_id in self.search(due, order="next_start_at, id", limit=BATCH).ids:
            if fields.Datetime.now() > until:
                return
            try:
                started = in_own_transaction(
                    self.env.registry, delivery_id, "_start", model=self._name
                )
            except psycopg2.OperationalError:
                continue  # another transaction has it right now
            except Exception:
                _logger.exception("webhook delivery %s was not started", delivery_id)
                continue
            if not started:
                return

    def _start(self):
        """Hand it over to Duragen if it still waits; False when Duragen cannot be reached."""
        from ..starter.client import DuragenError, UnavailableError

        self.ensure_one()
        self.env.cr.execute(
            "SELECT state FROM duragen_webhook_delivery WHERE id = %s FOR UPDATE SKIP LOCKED",
            [self.id],
            log_exceptions=False,
        )
        if self.env.cr.fetchone() != ("waiting",):
            return True
        request = self.request_id
        try:
            self.env["duragen.connection"]._client(PATIENCE_SECONDS).start_webhook(
                {
                    "deliveryId": self.delivery_uuid,
                    "source": self.env["duragen.connection"]._webhook_source(),
                    "receiver": self.endpoint_id.webhook_code,
                    "requestId": request.request_uuid or None,
                    "correlationId": request.correlation_uuid or None,
                }
            )
        except DuragenError as error:
            _logger.warning("webhook delivery %s waits: %r", self.delivery_uuid, error)
            self.next_start_at = fields.Datetime.now() + PAUSE
            return not isinstance(error, UnavailableError)
        self.write({"state": "sending", "next_start_at": False})
        return True

    @api.model
    def _prepared(self, delivery_uuid):
        """The request to send, signed now: {"url", "headers", "body"}; or {"drop": why}."""
        delivery = self._named(delivery_uuid)
        endpoint = delivery.endpoint_id
        if not endpoint or not endpoint.enabled or not endpoint.user_id.active:
            if delivery.state in ("waiting", "sending"):
                delivery.state = "dropped"
            return {"drop": "the webhook is switched off" if endpoint else "the webhook is gone"}
        body = json.dumps(delivery._content(), ensure_ascii=False)
        headers = {"Content-Type": "application/json", "User-Agent": "Duragen-Webhooks"}
        headers |= signed(delivery.message_code, body.encode(), endpoint._secrets())
        return {"url": endpoint.url, "headers": headers, "body": body}

    def _content(self):
        """What the receiver gets, as it is now: links to images are fresh at each attempt."""
        happened = self.happened_at.isoformat() + "Z"
        data = {}
        user = self.endpoint_id.user_id
        if self.request_id and self.request_id.user_id == user:
            request = self.request_id.with_user(user).sudo().with_context(lang=user.lang)
            job = self.env["duragen.api"]._view(request)
            data = {**job, "status": _STATUS.get(self.event, job["status"])}
            if self.endpoint_id.payload == "thin":
                data = {name: data[name] for name in ("jobId", "status")}
        return {"type": self.event, "timestamp": happened, "data": data}

    @api.model
    def _reported(self, delivery_uuid, attempt, said):
        """Note what came of an attempt; the same report twice changes nothing.

        Answers {"failing"}: whether the endpoint is switched off because it failed for days.
        """
        delivery = self._named(delivery_uuid)
        if not delivery or attempt < delivery.attempts:
            return {"failing": False}
        end = said["end"]
        delivery.write(
            {
                "attempts": attempt,
                "last_at": fields.Datetime.now(),
                "last_status": said.get("status") or 0,
                "last_milliseconds": said.get("milliseconds") or 0,
                "last_answer": (said.get("answer") or "")[:300],
                "state": _ended(end, attempt),
            }
        )
        endpoint = delivery.endpoint_id
        if end == "delivered":
            endpoint._succeeded()
        elif end == "gone" and endpoint.enabled:
            endpoint._disable("gone")
        elif end == "failed":
            endpoint._failed(is_last=attempt >= ATTEMPTS)
        return {"failing": end == "failed" and endpoint.disabled_why == "failing"}

    def _named(self, delivery_uuid):
        return self.sudo().search([("delivery_uuid", "=", str(delivery_uuid))], limit=1)

    def _owned(self):
        self.check_access("read")
        if not self.env.su and any(each.user_id != self.env.user for each in self):
            raise AccessError(self.env._("Only the one whose webhook it is may do this."))
        return self.sudo()

    @api.autovacuum
    def _gc_old(self):
        """Deliveries are kept for a month."""
        # One statement: nothing hangs on them, and there may be a million.
        self.env.cr.execute(
            "DELETE FROM duragen_webhook_delivery WHERE create_date < %s",
            [fields.Datetime.now() - KEPT],
        )


_STATUS = {
    "generation.started": "processing",
    "generation.completed": "completed",
    "generation.failed": "failed",
    "generation.canceled": "canceled",
}


def _ended(end, attempt):
    if end == "delivered":
        return "delivered"
    if end == "dropped":
        return "dropped"
    return "failed" if end == "gone" or attempt >= ATTEMPTS else "sending"


def _start_after_commit(registry, delivery_id):
    if not is_quiet(registry):
        try_after_commit(registry, delivery_id, "_start", model=_NAME)
