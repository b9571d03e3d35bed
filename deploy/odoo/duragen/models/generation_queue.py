"""Outcomes from RabbitMQ: a cron listens, and applies each in a transaction of its own."""

import logging
from contextlib import suppress
from datetime import timedelta

import psycopg2
from odoo import api, fields, models
from odoo.exceptions import MissingError, UserError, ValidationError

from ..after_commit import in_own_transaction
from ..broker import NoOutcomeError, outcome_of
from ..exceptions import AwayError, SettingsError
from ..signatures import UnauthorizedError, check_message
from ..wire import UUID

_logger = logging.getLogger(__name__)

RUN_SECONDS = 20.0
"""One run. While outcomes are to be expected the next one follows at once, so that they wait for a
moment only; a restart of Odoo waits for a run to end."""

EXPECTED = timedelta(hours=1)
"""So long after its start an outcome is waited for. What takes longer is read once a minute: while
a cron runs, nobody can install or update a module."""

DRAINED_SECONDS = 1.0
"""Without a message for so long the queue is empty."""

TRIES = 3
"""For an outcome whose record another transaction is writing."""


class GenerationQueue(models.Model):
    """The way of an outcome from the broker to the record."""

    _inherit = "duragen.generation.request"

    @api.model
    def _cron_listen(self):
        """Apply what is in the queue, where outcomes come that way, and wait for what is near."""
        from ..starter.client import DuragenError

        connection = self.env["duragen.connection"]
        if connection._setting("outcome_path") != "rabbitmq" or connection._is_copy():
            return
        since = fields.Datetime.now() - EXPECTED
        expected = [("state", "=", "started"), ("started_at", ">", since)]
        waits = bool(self.search_count(expected, limit=1))
        try:
            taking = _Taking(self.env.registry, connection._message_secrets())
            broker = connection._broker()
            # No transaction of ours stays open in the database while we listen.
            self.env.cr.commit()  # pylint: disable=invalid-commit
            broker.listen(taking.take, RUN_SECONDS if waits else DRAINED_SECONDS, RUN_SECONDS)
        except DuragenError as error:
            _logger.warning("no outcomes are read from RabbitMQ: %s", error)
            return
        if waits:
            self._listen_soon()

    @api.model
    def _listen_soon(self):
        """Have the cron begin now: an outcome is to be expected."""
        if self.env["duragen.connection"]._setting("outcome_path") == "rabbitmq":
            self.env.ref("duragen.cron_listen").sudo()._trigger()

    @api.model
    def _apply_message(self, headers, body, event, secrets):
        """Apply AIGenerationJobCompleted or …Failed; raises what check_message and apply_event do.

        Raises MissingError for another Odoo's: all that listen at an exchange get each outcome.
        """
        request_id = str(event.get("requestId"))
        named = [("request_uuid", "=", request_id)]
        request = UUID.fullmatch(request_id) and self.search(named, limit=1)
        if not request:
            raise MissingError(self.env._("There is no such request here."))
        check_message(headers, body, secrets)
        if event.get("status") == "completed":
            if not request._may_become("completed"):
                return
            event = {**event, "imageUrl": request._fresh_link()}
        self.apply_event(event)


class _Taking:
    """What becomes of the messages of one run."""

    def __init__(self, registry, secrets):
        self._registry = registry
        self._secrets = secrets
        self._away = False

    def take(self, headers, body):
        """True: it is settled; False: it can never be applied; None: it stays in the queue."""
        try:
            event = outcome_of(body)
            if self._away and event.get("status") == "completed":
                return None  # it would wait for the same peer, and hold up the failures behind it
            with suppress(MissingError):  # another Odoo's
                self._apply(headers, body, event)
        except SettingsError as error:
            return _stays(error)
        except (NoOutcomeError, UnauthorizedError, ValidationError) as error:
            _logger.warning("an outcome from RabbitMQ is refused: %s", error)
            return False
        except (UserError, psycopg2.OperationalError) as error:
            self._away = self._away or isinstance(error, AwayError)
            return _stays(error)
        except Exception as error:
            # A fault of ours must neither lose it nor hold up the others.
            _logger.exception("an outcome from RabbitMQ broke off")
            return _stays(error)
        return True

    def _apply(self, headers, body, event):
        arguments = (headers, body, event, self._secrets)
        for _again in range(TRIES - 1):
            with suppress(psycopg2.OperationalError):
                in_own_transaction(self._registry, [], "_apply_message", *arguments)
                return
        in_own_transaction(self._registry, [], "_apply_message", *arguments)


def _stays(error):
    _logger.warning("an outcome from RabbitMQ waits: %s", error)
