"""Trying what is set: what works, and what to do otherwise."""

import time
import uuid

from odoo import api, models

from .. import alerting, signatures
from ..s3 import S3Error
from .connection import PATIENCE_SECONDS

MOST_MODELS = 500
"""Duragen is asked about so many; repeated in starter/client.py."""

_EXPECTED = "duragen.connection_test."
_TEST_SECONDS = 60


class ConnectionCheck(models.AbstractModel):
    """The connection test of the settings page."""

    _inherit = "duragen.connection"

    @api.model
    def _test(self):
        """What works and what to do otherwise: a list of {"name", "ok", "text"}.

        `ok` is None for what could not be tried. Every wait has an end: a person looks on.
        """
        found = self._test_duragen()
        checks = []
        if self._setting("start_path") == "rabbitmq":
            checks.append(("RabbitMQ", self._test_broker))
        if self._setting("image_storage") == "odoo":
            checks.append((self.env._("Image store"), self._test_origins))
        if self._setting("image_storage") == "s3" or self._setting("s3_bucket"):
            checks.append((self.env._("Images"), self._test_store))
        if self._setting("alertmanager_url"):
            checks.append((self.env._("Alerts"), self._test_alerts))
        found += [_finding(name, *check()) for name, check in checks]
        return found

    def _test_duragen(self):
        """The way there, what Duragen says of itself, and the way back."""
        from ..starter.client import DuragenError

        way_back = _finding(self.env._("Outcome"), *self._test_outcome())
        called = way_back["ok"] and self._setting("outcome_path") != "rabbitmq"
        try:
            report = self._report(called)
        except DuragenError as error:
            return [_finding(self.env._("Start"), False, str(error)), way_back]
        found = [
            _finding(self.env._("Start"), True, self._start_path_text()),
            _finding(self.env._("Workers"), *self._said_of_workers(report)),
            _finding(self.env._("Models"), *self._said_of_models(report)),
            way_back,
        ]
        if way_back["ok"]:
            name = self.env._("Test callback")
            found.append(_finding(name, *self._said_of_callback(report, called)))
        return found

    def _report(self, called):
        """Duragen's answer to a connection test, in which it calls back where `called` says so."""
        rabbitmq = self._setting("start_path") == "rabbitmq"
        client = self._client()  # also by RabbitMQ: there is none for a copy
        test_id = str(uuid.uuid4())
        if called:
            self._expect_test(test_id)
        models = self.env["duragen.ai.model"].sudo().search([], limit=MOST_MODELS)
        report = (self._gateway() if rabbitmq else client).test_connection(
            {
                "testId": test_id,
                "correlationId": str(uuid.uuid4()),
                "modelIds": sorted(set(models.mapped("model_uuid"))),
                "callbackUrl": self._callback_url() if called else None,
            }
        )
        return {**report, "arrived": called and not self._still_expected(test_id)}

    def _start_path_text(self):
        if self._setting("start_path") == "temporal":
            return self.env._("Temporal at %s answers.", self._setting("temporal_address"))
        return self.env._(
            "The gateway at %s answers and takes our key.", self._setting("gateway_url")
        )

    def _said_of_workers(self, report):
        if report["missingAttributes"]:
            return False, self.env._(
                "This Temporal lacks the search attributes %(names)s: is it Duragen's, and the"
                " right namespace? If so: %(command)s",
                names=", ".join(report["missingAttributes"]),
                command=report["createAttributes"],
            )
        if report["unservedQueues"]:
            return False, self.env._(
                "No worker polls %s: start `duragen worker`, with all of Duragen's settings.",
                ", ".join(report["unservedQueues"]),
            )
        if not report["answered"]:
            return False, self.env._(
                "No worker answered within 10 s: look at its log, and whether it runs and has this"
                " version."
            )
        return True, self.env._("Workers poll all queues that a generation needs.")

    def _said_of_models(self, report):
        if not report["answered"]:
            return None, self.env._("Not tried: no worker answered.")
        models = self.env["duragen.ai.model"].sudo().search([], limit=MOST_MODELS)
        if not models:
            return False, self.env._("There is none: add one under Configuration, Models.")
        unknown = models.filtered(lambda model: model.model_uuid.lower() in report["unknownModels"])
        if unknown:
            named = ", ".join(f"{model.name} ({model.model_uuid})" for model in unknown)
            return False, self.env._(
                "Duragen's workers do not know %s: correct its ID or archive it here, or add the"
                " table [models.…] to their settings and restart them.",
                named,
            )
        return True, self.env._("Duragen's workers know all models.")

    def _said_of_callback(self, report, called):
        if not called:
            return None, self.env._(
                "Not tried: outcomes come from RabbitMQ. The first image shows whether they do."
            )
        ok, detail = report["callback"]["ok"], report["callback"]["detail"]
        if ok and report["arrived"]:
            return True, self.env._("A worker has called this Odoo back, and was believed.")
        if ok:
            return False, self.env._(
                "Something took the worker's test callback to %s, but it was not this Odoo: look at"
                " where that address leads.",
                self._callback_url(),
            )
        if not report["answered"]:
            return None, self.env._("Not tried: no worker answered.")
        if ok is None:
            return None, self.env._("Not tried: %s.", detail)
        return False, self.env._(
            "The worker's test callback to %(url)s failed: %(detail)s. Compare origin, token and"
            " signing secret with [[odoo]] in Duragen's settings. Without an answer: the worker"
            " must reach this address, and Odoo needs a second thread or worker.",
            url=self._callback_url(),
            detail=detail,
        )

    def _expect_test(self, test_id):
        """Let a test event with this id in, once, within a minute.

        It is committed at once: the event comes in a request of its own. Not by `set_param`, which
        would have every process of Odoo forget all that it knows of parameters.
        """
        now = int(time.time())
        with self.env.registry.cursor() as cr:
            cr.execute(
                "DELETE FROM ir_config_parameter WHERE key LIKE %s AND value::bigint < %s",
                [f"{_EXPECTED}%", now],
            )
            cr.execute(
                "INSERT INTO ir_config_parameter (key, value) VALUES (%s, %s)",
                [_EXPECTED + test_id, str(now + _TEST_SECONDS)],
            )

    def _still_expected(self, test_id):
        """Whether no test event came; from now on none is expected."""
        # What came was committed by another request, after this transaction began.
        with self.env.registry.cursor() as cr:
            cr.execute("DELETE FROM ir_config_parameter WHERE key = %s", [_EXPECTED + test_id])
            return bool(cr.rowcount)

    def _take_test(self, test_id):
        """Whether this test event was expected; a second one is not."""
        self.env.cr.execute(
            "DELETE FROM ir_config_parameter WHERE key = %s RETURNING value::bigint",
            [_EXPECTED + test_id],
        )
        found = self.env.cr.fetchone()
        return bool(found) and found[0] >= time.time()

    def _test_broker(self):
        from ..starter.client import DuragenError

        try:
            self._broker().check(PATIENCE_SECONDS)
        except DuragenError as error:
            return False, str(error)
        return True, self.env._("RabbitMQ takes requests.")

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


def _finding(name, ok, text):
    return {"name": name, "ok": ok, "text": text}
