"""What the addon talks to: its settings, Duragen's client, the S3 store."""

import logging

from odoo import api, models

from .. import alerting, fetching, signatures
from ..broker import Broker
from ..s3 import S3Error, Store, origins

_logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""For one call to Duragen that a person waits for, or that is one of many: it is not repeated here.
The hook after the commit makes one; what that does not start is left to the outbox."""

DEFAULTS = {
    "start_path": "temporal",
    "temporal_address": "127.0.0.1:7233",
    "temporal_namespace": "default",
    "temporal_api_key": "",
    "temporal_tls": "",
    "temporal_ui_url": "",
    "gateway_url": "",
    "gateway_key": "",
    "rabbitmq_url": "",
    "rabbitmq_exchange": "ai-generation",
    "rabbitmq_queue": "",
    "outcome_path": "callback",
    "callback_base_url": "",
    "callback_token": "",
    "previous_callback_token": "",
    "signing_secret": "",
    "previous_signing_secret": "",
    "image_storage": "odoo",
    "image_origins": "",
    "s3_bucket": "",
    "s3_endpoint_url": "",
    "s3_region": "us-east-1",
    "s3_addressing_style": "",
    "s3_access_key_id": "",
    "s3_secret_access_key": "",
    "user_errors": "release",
    "user_cancellations": "capture",
    "initial_credits": "10",
    "api_rate_per_minute": "60",
    "reconcile_minutes": "15",
    "erase_after_days": "0",
    "alertmanager_url": "",
    "alertmanager_token": "",
}

CALLBACK_PATH = "/duragen/v1/callback"
WEBHOOK_PATH = "/duragen/v1/webhooks"

# spec: developer-api.sequence, steps 7, 10; Duragen's settings have the same as defaults.
EVENT_KEYS = ("AIGenerationJobRequested", "AIGenerationJobCompleted", "AIGenerationJobFailed")

# Each holds a connection, made at its first call: one for all databases and threads of a process.
_clients = {}


class Connection(models.AbstractModel):
    """The addon's settings and the clients that they describe, for the addon's code."""

    _name = "duragen.connection"
    _description = "Connection to Duragen"

    @api.model
    def _setting(self, name):
        """The text of a setting, its default when it is not set."""
        parameters = self.env["ir.config_parameter"].sudo()
        return (parameters.get_param(f"duragen.{name}") or DEFAULTS[name]).strip()

    @api.model
    def _in_force(self, name):
        """The texts of a secret that are believed: it, and the previous one until that is gone."""
        found = (self._setting(name), self._setting(f"previous_{name}"))
        return [text for text in found if text]

    @api.model
    def _number(self, name):
        """A setting that is a whole number; its default when it is not one."""
        try:
            return int(self._setting(name))
        except ValueError:
            return int(DEFAULTS[name])

    @api.model
    def _callback_url(self):
        """Where Duragen delivers the outcome."""
        base = self._setting("callback_base_url")
        if not base:
            base = self.env["ir.config_parameter"].sudo().get_param("web.base.url")
        return base.rstrip("/") + CALLBACK_PATH

    @api.model
    def _webhook_source(self):
        """Where Duragen asks for webhooks to send, beside the callback."""
        return self._callback_url().removesuffix(CALLBACK_PATH) + WEBHOOK_PATH

    @api.model
    def _workflow_url(self, workflow_name):
        """A workflow in Temporal's Web UI; empty when its address is not set."""
        base = self._setting("temporal_ui_url").rstrip("/")
        namespace = self._setting("temporal_namespace")
        return f"{base}/namespaces/{namespace}/workflows/{workflow_name}" if base else ""

    @api.model
    def _client(self, seconds=PATIENCE_SECONDS):
        """Duragen's client, by the start path that is set. Raises a DuragenError of starter.client.

        Each of its calls waits up to `seconds`; there is one client for each such figure. Made at
        the first use and never at import: a Temporal client from before a fork fails.
        """
        # Not at the top: Odoo imports every addon's modules in its parent process.
        from ..starter.client import DuragenClient, SetupError

        if self._is_copy():
            # The copy would start, cancel and ask about the original's generations.
            raise SetupError(
                "this database is a copy of another one; give it settings of its own, then delete"
                " the system parameter duragen.database_uuid"
            )
        if self._setting("start_path") != "temporal":
            return self._gateway(seconds)
        names = ("temporal_address", "temporal_namespace", "temporal_api_key", "temporal_tls")
        address, namespace, api_key, tls = given = [self._setting(name) for name in names]
        more = {"api_key": api_key or None, "tls": tls == "True" or None}
        return _kept(
            ("temporal", seconds, *given),
            lambda: DuragenClient(address, namespace, **more, **_once(seconds)),
        )

    @api.model
    def _gateway(self, seconds=PATIENCE_SECONDS):
        """The client of Duragen's gateway, as `_client`."""
        from ..starter.client import SetupError, ValidationError
        from ..starter.gateway_client import GatewayClient

        given = (self._setting("gateway_url"), self._setting("gateway_key"))
        try:
            return _kept(
                ("gateway", seconds, *given), lambda: GatewayClient(*given, **_once(seconds))
            )
        except ValidationError as error:
            # The settings are wrong, not the request: it waits until they are fixed.
            raise SetupError(f"the gateway's address in the settings: {error}") from None

    @api.model
    def _broker(self):
        """The message broker of the settings; nothing is connected yet. Raises SetupError."""
        from ..starter.client import SetupError

        url = self._setting("rabbitmq_url")
        if not url:
            raise SetupError("RabbitMQ's address is not set in Odoo's settings of Duragen")
        return Broker(url, self._setting("rabbitmq_exchange"), self._outcome_queue(), EVENT_KEYS)

    @api.model
    def _message_secrets(self):
        """The secrets of outcomes from the broker. Raises SetupError without a usable one."""
        from ..starter.client import SetupError

        secrets = self._in_force("signing_secret")
        if not secrets:
            raise SetupError(
                self.env._(
                    "Set a signing secret: without one anybody who may publish could forge"
                    " outcomes."
                )
            )
        try:
            for secret in secrets:
                signatures.key_of(secret)
        except signatures.UnauthorizedError as error:
            raise SetupError(str(error)) from None
        return secrets

    @api.model
    def _outcome_queue(self):
        """Of this database alone: two that read one queue would take each other's outcomes off."""
        uuid = self.env["ir.config_parameter"].sudo().get_param("database.uuid")
        return self._setting("rabbitmq_queue") or f"odoo.outcomes.{uuid}"

    @api.model
    def _hand_over(self, event, seconds):
        """Start the generation of this event by the start path that is set.

        Raises a DuragenError of starter.client. By RabbitMQ it is started once Duragen reads it.
        """
        client = self._client(seconds)  # also by RabbitMQ: there is none for a copy
        if self._setting("start_path") == "rabbitmq":
            self._broker().publish(event, seconds)
        else:
            client.start(event)

    @api.model
    def _claim(self):
        """Remember which database starts generations, so that a copy of it does not."""
        parameters = self.env["ir.config_parameter"].sudo()
        if not parameters.get_param("duragen.database_uuid"):
            parameters.set_param("duragen.database_uuid", parameters.get_param("database.uuid"))

    @api.model
    def _is_copy(self):
        """Whether this database is a copy of the one that generations were started from."""
        parameters = self.env["ir.config_parameter"].sudo()
        made_for = parameters.get_param("duragen.database_uuid")
        return bool(made_for) and made_for != parameters.get_param("database.uuid")

    @api.model
    def _target(self):
        """Where generations are started now; another Duragen does not know them."""
        if self._setting("start_path") != "temporal":
            return self._setting("gateway_url").rstrip("/")
        return f"{self._setting('temporal_address')}/{self._setting('temporal_namespace')}"

    @api.model
    def _store(self):
        """The S3 store of the settings. Raises S3Error when they are not complete."""
        return Store(
            bucket=self._setting("s3_bucket"),
            endpoint_url=self._setting("s3_endpoint_url") or None,
            region=self._setting("s3_region"),
            access_key_id=self._setting("s3_access_key_id"),
            secret_access_key=self._setting("s3_secret_access_key"),
            addressing_style=self._setting("s3_addressing_style"),
        )

    @api.model
    def _image_origins(self):
        """Where images may be fetched from: the addresses that are set, else the S3 settings'."""
        given = self._setting("image_origins").replace(",", " ").split()
        if not given:
            names = ("s3_bucket", "s3_endpoint_url", "s3_region", "s3_addressing_style")
            given = origins(*(self._setting(name) for name in names))
        return {origin for origin in map(fetching.origin_of, given) if origin}


def _once(seconds):
    # The outbox retries: it knows how long that may take.
    return {"timeout": seconds, "retry_seconds": ()}


def _kept(key, make):
    return _clients.get(key) or _clients.setdefault(key, make())
