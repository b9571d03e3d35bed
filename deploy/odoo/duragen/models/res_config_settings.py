"""The addon's page of Odoo's settings: each field is the system parameter `duragen.…`."""

import base64
import secrets

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from .connection import CALLBACK_PATH, DEFAULTS

NUMBERS = ("initial_credits", "api_rate_per_minute", "reconcile_minutes", "erase_after_days")


def _parameter(name):
    """Connects a field to its parameter; a parameter that is not set shows its default."""
    default = DEFAULTS[name]
    more = {"default": int(default) if name in NUMBERS else default} if default else {}
    return {"config_parameter": f"duragen.{name}", **more}


class ResConfigSettings(models.TransientModel):
    """The addon's own section of Odoo's settings, for administrators."""

    _inherit = "res.config.settings"

    duragen_start_path = fields.Selection(
        [
            ("temporal", "Straight to Temporal"),
            ("gateway", "Through Duragen's gateway"),
            ("rabbitmq", "Through RabbitMQ"),
        ],
        "Start path",
        **_parameter("start_path"),
    )
    duragen_temporal_address = fields.Char("Temporal address", **_parameter("temporal_address"))
    duragen_temporal_namespace = fields.Char("Namespace", **_parameter("temporal_namespace"))
    duragen_temporal_api_key = fields.Char("Temporal API key", **_parameter("temporal_api_key"))
    duragen_temporal_tls = fields.Boolean("TLS", **_parameter("temporal_tls"))
    duragen_temporal_ui_url = fields.Char("Web UI", **_parameter("temporal_ui_url"))
    duragen_gateway_url = fields.Char("Gateway URL", **_parameter("gateway_url"))
    duragen_gateway_key = fields.Char("Gateway key", **_parameter("gateway_key"))

    duragen_rabbitmq_url = fields.Char("RabbitMQ", **_parameter("rabbitmq_url"))
    duragen_rabbitmq_exchange = fields.Char("Exchange", **_parameter("rabbitmq_exchange"))
    duragen_rabbitmq_queue = fields.Char("Queue of outcomes", **_parameter("rabbitmq_queue"))
    duragen_outcome_path = fields.Selection(
        [("callback", "Duragen calls Odoo"), ("rabbitmq", "From RabbitMQ")],
        "Outcomes come",
        **_parameter("outcome_path"),
    )

    duragen_callback_base_url = fields.Char("Odoo's address", **_parameter("callback_base_url"))
    duragen_callback_url = fields.Char("Callback URL", compute="_compute_duragen_callback_url")
    duragen_callback_token = fields.Char("Token", **_parameter("callback_token"))
    duragen_previous_callback_token = fields.Char(
        "Previous token", **_parameter("previous_callback_token")
    )
    duragen_signing_secret = fields.Char("Signing secret", **_parameter("signing_secret"))
    duragen_previous_signing_secret = fields.Char(
        "Previous signing secret", **_parameter("previous_signing_secret")
    )
    duragen_reconcile_minutes = fields.Integer("Ask after", **_parameter("reconcile_minutes"))

    duragen_image_storage = fields.Selection(
        [("odoo", "In Odoo"), ("s3", "In the S3 store alone")],
        "Images are kept",
        **_parameter("image_storage"),
    )
    duragen_image_origins = fields.Char("Image store's address", **_parameter("image_origins"))
    duragen_s3_bucket = fields.Char("Bucket", **_parameter("s3_bucket"))
    duragen_s3_endpoint_url = fields.Char("Endpoint URL", **_parameter("s3_endpoint_url"))
    duragen_s3_region = fields.Char("Region", **_parameter("s3_region"))
    duragen_s3_addressing_style = fields.Selection(
        [("path", "Path: the bucket is in the path"), ("virtual", "Virtual: it is in the host")],
        "Addressing style",
        **_parameter("s3_addressing_style"),
    )
    duragen_s3_access_key_id = fields.Char("Access key ID", **_parameter("s3_access_key_id"))
    duragen_s3_secret_access_key = fields.Char(
        "Secret access key", **_parameter("s3_secret_access_key")
    )

    duragen_user_errors = fields.Selection(
        [
            ("release", "Give the credits back"),
            ("after_warning", "First warn and give them back, then keep them"),
            ("capture", "Keep the credits"),
        ],
        "Refused prompts",
        **_parameter("user_errors"),
    )
    duragen_user_cancellations = fields.Selection(
        [
            ("capture", "Charge those that the image service may be paid for"),
            ("release", "Give the credits back"),
        ],
        "Cancellations",
        **_parameter("user_cancellations"),
    )
    duragen_alertmanager_url = fields.Char("Alertmanager", **_parameter("alertmanager_url"))
    duragen_alertmanager_token = fields.Char(
        "Alertmanager token", **_parameter("alertmanager_token")
    )
    duragen_initial_credits = fields.Integer(
        "Credits to begin with", **_parameter("initial_credits")
    )
    duragen_api_rate_per_minute = fields.Integer(
        "Submissions a minute", **_parameter("api_rate_per_minute")
    )
    duragen_erase_after_days = fields.Integer("Erase after", **_parameter("erase_after_days"))

    def action_duragen_new_token(self):
        """Make and save a new token; see `_change_secret`."""
        return self._change_secret("callback_token", secrets.token_urlsafe(32))

    def action_duragen_new_signing_secret(self):
        """Make and save a new signing secret; see `_change_secret`."""
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        return self._change_secret("signing_secret", f"whsec_{key}")

    def _change_secret(self, name, new):
        """Save it, keep believing the one before, and show both to be copied."""
        self._check_administrator()
        self.ensure_one()
        connection = self.env["duragen.connection"].sudo()
        current, previous = connection._setting(name), connection._setting(f"previous_{name}")
        if previous:
            raise UserError(
                self.env._(
                    "A change is under way: empty the previous one and save, once Duragen has the"
                    " current one."
                )
            )
        parameters = self.env["ir.config_parameter"].sudo()
        values = {name: new, **({f"previous_{name}": current} if current else {})}
        for each, value in values.items():
            parameters.set_param(f"duragen.{each}", value)
        # The page is this record: saving it later must not bring the old ones back.
        self.write({f"duragen_{each}": value for each, value in values.items()})
        return self._dialog(name)

    def action_duragen_copy_block(self):
        """Show the table that Duragen's settings need for this Odoo."""
        self._check_administrator()
        return self._dialog(False)

    def _dialog(self, shown):
        shown = self.env["duragen.copy.settings"].create({"shown": shown})
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("For Duragen's Settings"),
            "res_model": shown._name,
            "res_id": shown.id,
            "view_mode": "form",
            "target": "new",
        }

    def _check_administrator(self):
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can change the settings."))

    @api.model
    def default_get(self, fields):
        """The settings, for those who may change them: Odoo itself gives them to every caller."""
        if not self.env.su and not self.env.user.has_group("base.group_system"):
            fields = [name for name in fields if not name.startswith("duragen_")]
        return super().default_get(fields)

    def set_values(self):
        """Also keep a 0: Odoo would delete the parameter, and the default would be back."""
        done = super().set_values()
        parameters = self.env["ir.config_parameter"].sudo()
        for name in NUMBERS:
            parameters.set_param(f"duragen.{name}", str(self[f"duragen_{name}"]))
        if self.duragen_outcome_path == "rabbitmq":
            self.env.ref("duragen.cron_listen").sudo()._trigger()
        return done

    def _compute_duragen_callback_url(self):
        web_base_url = self.env["ir.config_parameter"].sudo().get_param("web.base.url")
        for settings in self:
            base = (settings.duragen_callback_base_url or web_base_url or "").strip()
            settings.duragen_callback_url = base.rstrip("/") + CALLBACK_PATH

    def action_duragen_test(self):
        """Try what is saved, and say in plain words what works and what to do otherwise."""
        self._check_administrator()
        found = self.env["duragen.connection"].sudo()._test()
        good = all(check["ok"] is not False for check in found)
        title = self.env._("Everything works") if good else self.env._("Not everything works")
        if good and any(check["ok"] is None for check in found):
            title = self.env._("All that was tried works")
        marks = {True: "✓", False: "✗", None: "?"}
        lines = [f"{marks[check['ok']]} {check['name']}: {check['text']}" for check in found]
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "title": title,
                "message": "\n\n" + "\n\n".join(lines),
                "type": "success" if good else "danger",
                "sticky": True,
                "className": "text-prewrap o_duragen_test",
            },
        }
