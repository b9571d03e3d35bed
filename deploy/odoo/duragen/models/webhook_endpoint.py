"""Webhook endpoints: where an API user wants to hear what becomes of the generations."""

import base64
import secrets
import uuid
from datetime import timedelta
from urllib.parse import urlsplit

from odoo import api, fields, models, tools
from odoo.exceptions import AccessError, UserError, ValidationError

from ..exceptions import ConflictError
from ..untouched import untouched
from ..wire import URI

EVENTS = {
    "generation.started": "on_started",
    "generation.completed": "on_completed",
    "generation.failed": "on_failed",
    "generation.canceled": "on_canceled",
}
MOST_ENDPOINTS = 10
"""Of one user: each event is a delivery to each of them."""

PREVIOUS_LASTS = timedelta(hours=24)
"""So long both secrets sign after a rotation."""

SAME_ROTATION = timedelta(minutes=5)

FAILING_LASTS = timedelta(days=5)
"""An endpoint that has failed for so long without a success is disabled at the next delivery that
has had all its attempts; as Svix does it."""

MAX_URL_CHARACTERS = 2_048
EDITABLE = frozenset({"url", "description", "payload", "enabled", *EVENTS.values()})


class WebhookEndpoint(models.Model):
    """One address of one user. Deliveries follow Standard Webhooks."""

    _name = "duragen.webhook.endpoint"
    _inherit = "duragen.guarded"
    _description = "Webhook"
    _order = "id desc"
    _rec_name = "url"

    webhook_code = fields.Char(
        "Webhook ID", required=True, readonly=True, copy=False, default=lambda _: str(uuid.uuid4())
    )
    user_id = fields.Many2one(
        "res.users",
        required=True,
        readonly=True,
        index=True,
        ondelete="cascade",
        default=lambda self: self.env.user,
    )
    company_id = fields.Many2one(
        "res.company",
        required=True,
        readonly=True,
        ondelete="cascade",
        default=lambda self: self.env.company,
    )
    url = fields.Char("URL", required=True)
    description = fields.Char()
    on_started = fields.Boolean("Started")
    on_completed = fields.Boolean("Completed", default=True)
    on_failed = fields.Boolean("Failed", default=True)
    on_canceled = fields.Boolean("Canceled", default=True)
    payload = fields.Selection(
        [("full", "The whole job"), ("thin", "Its id and status alone")],
        required=True,
        default="full",
    )
    enabled = fields.Boolean(default=True)
    disabled_why = fields.Selection(
        [("user", "Switched off"), ("gone", "The receiver answered 410"), ("failing", "It failed")],
        readonly=True,
        copy=False,
    )
    failing_since = fields.Datetime(readonly=True, copy=False)
    secret = fields.Char(readonly=True, copy=False, groups="base.group_system")
    previous_secret = fields.Char(readonly=True, copy=False, groups="base.group_system")
    previous_until = fields.Datetime("Previous secret until", readonly=True, copy=False)
    delivery_ids = fields.One2many("duragen.webhook.delivery", "endpoint_id", readonly=True)

    def init(self):
        """Found by its id on the wire."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_webhook_endpoint_public_unique"
            " ON duragen_webhook_endpoint (webhook_code)"
        )

    @api.constrains("url")
    def _check_url(self):
        for endpoint in self:
            if fault := url_fault(self.env, endpoint.url or ""):
                raise ValidationError(self.env._("url: %s", fault))

    @api.model_create_multi
    def create(self, vals_list):
        """Users choose address and events; owner and secret are ours to set."""
        if not self.env.su:
            self.check_access("create")
            for vals in vals_list:
                _refuse_foreign(self.env, vals)
            self._check_room(self.env.user, len(vals_list))
            own = {"user_id": self.env.uid, "company_id": self.env.company.id}
            vals_list = [{**vals, **own} for vals in vals_list]
        ours = untouched(self, EDITABLE)
        whole = [{**ours, **vals, "secret": new_secret()} for vals in vals_list]
        return super(WebhookEndpoint, self.sudo()).create(whole).with_env(self.env)

    def write(self, vals):
        """As `create`; switched on again, it begins anew."""
        if not self.env.su:
            _refuse_foreign(self.env, vals)
            self.check_access("write")
        if "enabled" in vals and "disabled_why" not in vals:
            why = False if vals["enabled"] else "user"
            vals = {**vals, "disabled_why": why, "failing_since": False}
        return super(WebhookEndpoint, self.sudo()).write(vals)

    def action_rotate(self):
        """A new secret; the one before signs as well for a day.

        Again within five minutes it is the same rotation, as when its answer was lost: otherwise
        the secret that the receiver has would be refused.
        """
        recent = fields.Datetime.now() + PREVIOUS_LASTS - SAME_ROTATION
        for endpoint in self._owned():
            if endpoint.previous_until and endpoint.previous_until > recent:
                continue
            endpoint.write(
                {
                    "previous_secret": endpoint.secret,
                    "previous_until": fields.Datetime.now() + PREVIOUS_LASTS,
                    "secret": new_secret(),
                }
            )
        return True

    def action_show_secret(self):
        """The secret, for the one whose endpoint it is."""
        self.ensure_one()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "title": self.env._("Signing secret"),
                "message": self._owned().secret,
                "type": "info",
                "sticky": True,
            },
        }

    def action_test(self):
        """Send a test event; it is in the list of deliveries."""
        for endpoint in self._owned():
            if not endpoint.enabled:
                raise UserError(self.env._("It is switched off."))
            self.env["duragen.webhook.delivery"]._made(endpoint, "webhook.test")
        return True

    @api.model
    def _emit(self, event, request):
        """Write a delivery for each endpoint of the request's user that wants this event.

        In the transaction of what has happened; Duragen is informed after the commit.
        """
        wanted = [
            ("user_id", "=", request.user_id.id),
            ("enabled", "=", True),
            (EVENTS[event], "=", True),
        ]
        for endpoint in self.sudo().search(wanted, order="id"):
            self.env["duragen.webhook.delivery"]._made(endpoint, event, request)

    @api.model
    def _check_room(self, user, more):
        if self.sudo().search_count([("user_id", "=", user.id)]) + more > MOST_ENDPOINTS:
            raise ConflictError(self.env._("At most %s webhooks a user.", MOST_ENDPOINTS))

    def _secrets(self):
        """Those that sign now, the newest first."""
        endpoint = self.sudo()
        found = [endpoint.secret]
        if endpoint.previous_until and endpoint.previous_until > fields.Datetime.now():
            found.append(endpoint.previous_secret)
        return found

    def _succeeded(self):
        if self.failing_since:
            self.sudo().failing_since = False

    def _failed(self, is_last):
        """Disable it after days without a success, when this was a delivery's last attempt."""
        endpoint, now = self.sudo(), fields.Datetime.now()
        if not endpoint.failing_since:
            endpoint.failing_since = now
        elif is_last and endpoint.enabled and endpoint.failing_since < now - FAILING_LASTS:
            endpoint._disable("failing")

    def _disable(self, why):
        self.sudo().write({"enabled": False, "disabled_why": why})
        self._write_mail()

    def _write_mail(self):
        """Inform the user: nobody else would notice."""
        endpoint = self.sudo().with_context(lang=self.user_id.lang)
        if not endpoint.user_id.email:
            return
        reasons = dict(endpoint._fields["disabled_why"]._description_selection(endpoint.env))
        text = endpoint.env._(
            "Your webhook %(url)s is switched off: %(why)s. Nothing more is sent there. Switch it"
            " on again when it works, then have its failed deliveries sent again. What happens"
            " while it is off is in the list of your generations.",
            url=endpoint.url,
            why=reasons[endpoint.disabled_why],
        )
        endpoint.env["mail.mail"].with_context(tools.clean_context(self.env.context)).create(
            {
                "subject": endpoint.env._("Your webhook is switched off"),
                "body_html": tools.plaintext2html(text),
                "email_to": endpoint.user_id.email,
                "auto_delete": True,
            }
        )

    def _owned(self):
        """These, in sudo, for the one whose they are. Raises AccessError."""
        self.check_access("read")
        if not self.env.su and any(each.user_id != self.env.user for each in self):
            raise AccessError(self.env._("Only the one whose webhook it is may do this."))
        return self.sudo()


def url_fault(env, url):
    """Why no webhook may be sent there; None when one may. The worker looks at addresses."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not URI.fullmatch(url) or len(url) > MAX_URL_CHARACTERS or "@" in parts.netloc:
        return env._("must be an http or https URL, without a password in it")
    return None


def new_secret():
    """A secret of Standard Webhooks: 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _refuse_foreign(env, vals):
    foreign = vals.keys() - EDITABLE
    if foreign:
        names = ", ".join(sorted(foreign))
        raise AccessError(env._("You may not write these fields: %s", names))
