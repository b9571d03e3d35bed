"""Trying what is set: what works, and what to do otherwise."""

from odoo import api, models

from .. import alerting, signatures
from ..s3 import S3Error
from .connection import PATIENCE_SECONDS


class ConnectionCheck(models.AbstractModel):
    """The connection test of the settings page."""

    _inherit = "duragen.connection"

    @api.model
    def _test(self):
        """What works and what to do otherwise: a list of {"name", "ok", "text"}."""
        checks = [
            (self.env._("Start"), self._test_start),
            (self.env._("Outcome"), self._test_outcome),
        ]
        if self._setting("image_storage") == "odoo":
            checks.append((self.env._("Image store"), self._test_origins))
        if self._setting("image_storage") == "s3" or self._setting("s3_bucket"):
            checks.append((self.env._("Images"), self._test_store))
        if self._setting("alertmanager_url"):
            checks.append((self.env._("Alerts"), self._test_alerts))
        found = []
        for name, check in checks:
            ok, text = check()
            found.append({"name": name, "ok": ok, "text": text})
        return found

    def _test_start(self):
        from ..starter.client import DuragenError

        try:
            self._client().ping()
            if self._setting("start_path") == "rabbitmq":
                self._broker().check(PATIENCE_SECONDS)
        except DuragenError as error:
            return False, str(error)
        if self._setting("start_path") == "rabbitmq":
            return True, self.env._(
                "RabbitMQ takes requests, and the gateway at %s answers questions about them.",
                self._setting("gateway_url"),
            )
        if self._setting("start_path") == "gateway":
            return True, self.env._(
                "The gateway at %s answers and takes our key.", self._setting("gateway_url")
            )
        return True, self.env._("Temporal at %s answers.", self._setting("temporal_address"))

    def _test_outcome(self):
        url, secrets = self._callback_url(), self._in_force("signing_secret")
        if not secrets and not self._in_force("callback_token"):
            return False, self.env._(
                "Set a token or a signing secret: without one every callback is refused."
            )
        try:
            for secret in secrets:
                signatures.key_of(secret)
        except signatures.UnauthorizedError as error:
            return False, str(error)
        if self._setting("outcome_path") == "rabbitmq":
            return self._test_queue()
        return True, self.env._("Duragen delivers outcomes to %s.", url)

    def _test_queue(self):
        from ..starter.client import DuragenError

        try:
            self._message_secrets()
            self._gateway().ping()  # it has the links to images
            self._broker().check(PATIENCE_SECONDS)
        except DuragenError as error:
            return False, str(error)
        return True, self.env._("Outcomes are read from the queue %s.", self._outcome_queue())

    def _test_alerts(self):
        address = self._setting("alertmanager_url")
        try:
            alerting.check(address, self._setting("alertmanager_token"))
        except alerting.AlertingError as error:
            return False, self.env._("Alertmanager: %s.", error)
        return True, self.env._("Alertmanager answers.")

    def _test_origins(self):
        found = sorted(self._image_origins())
        if not found:
            return False, self.env._(
                "Set the image store's address: the links in outcomes lead there, and nowhere else"
                " are images fetched from."
            )
        return True, self.env._("Images are fetched from %s alone.", ", ".join(found))

    def _test_store(self):
        try:
            self._store().check()
        except S3Error as error:
            return False, str(error)
        return True, self.env._("The bucket %s can be read.", self._setting("s3_bucket"))
