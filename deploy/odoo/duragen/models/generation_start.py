"""Starting and canceling what was committed: one call of Duragen each, and the outbox behind it."""

import logging
import time
from datetime import timedelta
from functools import partial

import psycopg2
from odoo import api, fields, models
from odoo.exceptions import AccessError

from ..after_commit import in_own_transaction, try_unless_quiet
from ..broker import UncertainError
from ..wire import Failure, Outcome
from .connection import PATIENCE_SECONDS
from .generation_request import OPEN_STATES

_logger = logging.getLogger(__name__)

BATCH = 200
"""Requests that one run of the outbox takes; what is left waits for the next minute."""

PAUSE = timedelta(minutes=1)
"""Between two tries of one request. It does not grow: a run of the outbox ends at the first call
that does not reach Duragen, so an outage costs one call a minute. After it, all start at once."""

OUTBOX_START_SECONDS = 30.0
"""For one start by the outbox. spec: Odoo's outbox waits up to 30 s for a start
(event-driven-architecture, EVT-AIG-001, Timeout Ms)."""

RUN_SECONDS = 60.0
"""A run of the outbox begins no call after it: Odoo ends a cron that takes two minutes."""


class GenerationStart(models.Model):
    """The way of a request from the outbox to Duragen."""

    _inherit = "duragen.generation.request"

    failing_since = fields.Datetime(
        readonly=True, copy=False, help="The first of the starts that failed since it waits."
    )

    @api.model
    def _cron_start(self):
        """The outbox: start what a crash or an outage left behind, pass on cancellations.

        Then managers and Alertmanager are informed, when starts have failed for long.
        """
        until = time.monotonic() + RUN_SECONDS
        self._run_outbox()
        self.env["duragen.webhook.delivery"]._run_outbox(until - time.monotonic())
        self.env["duragen.start.trouble"]._watch()

    def _run_outbox(self, seconds=RUN_SECONDS):
        """One run, which ends early when Duragen cannot be reached; no call after `seconds`."""
        until = time.monotonic() + seconds
        now = [("next_start_at", "<=", fields.Datetime.now())]
        first = {"order": "next_start_at, id", "limit": BATCH}
        waiting = self.search([("state", "=", "requested"), *now], **first)
        asked = [("state", "=", "started"), ("cancel_requested", "=", True)]
        taken_back = self.search([*asked, *now], **first)
        todo = [(waiting, "_start", OUTBOX_START_SECONDS), (taken_back, "_pass_cancel")]
        for requests, method, *arguments in todo:
            for request_id in requests.ids:
                if time.monotonic() > until:
                    return
                try:
                    reached = in_own_transaction(self.env.registry, request_id, method, *arguments)
                except psycopg2.OperationalError:
                    continue  # another transaction has it right now; the next run looks again
                except Exception as error:
                    # One request that fails must not hold up all the others.
                    _logger.exception("request %s: %s failed", request_id, method)
                    if method == "_start":
                        self._note_broken(request_id, error)
                    continue
                if not reached:
                    return

    def _note_broken(self, request_id, error):
        """Have managers see a start that broke off: its own transaction wrote nothing."""
        why = f"{type(error).__name__}: Odoo's log says more"
        try:
            in_own_transaction(self.env.registry, request_id, "_broke_off", why)
        except psycopg2.Error:
            _logger.exception("request %s cannot be postponed", request_id)

    def _broke_off(self, why):
        self._lock()
        if self.state == "requested":
            self._postpone(why)

    def _start(self, seconds=PATIENCE_SECONDS):
        """Start this request if it still waits; False when Duragen could not be reached.

        The start has `seconds` for its answer. Safe to repeat at any time: the request id is the
        workflow's id. The row stays locked during the call, so that a cancellation finds it either
        waiting or started.
        """
        from ..starter.client import (
            ConflictError,
            DuragenError,
            UnavailableError,
            ValidationError,
        )

        self.ensure_one()
        if not self._locked_while_waiting():
            return True
        first = self._is_first_publishing()
        if first and not self._note_publishing():
            return True
        if self.cancel_requested:
            return self._take_back()
        connection = self.env["duragen.connection"]
        try:
            connection._hand_over(self.event, seconds)
        except ValidationError as error:
            if any(fault.get("field") == "callbackUrl" for fault in error.errors):
                # Duragen's settings lack this Odoo, or ours have a wrong address: the request waits
                # until either is fixed. Nothing runs yet with the refused address.
                url = connection._callback_url()
                self.event = {**self.event, "callbackUrl": url}
                self._postpone(str(error))
            else:
                self._end_unstarted("INVALID_INPUT", str(error))
        except ConflictError as error:
            self._end_unstarted("INTERNAL", str(error))
        except DuragenError as error:
            if first:
                self.maybe_published = isinstance(error, UncertainError)
            self._postpone(str(error))
            return not isinstance(error, UnavailableError)
        else:
            self._started()
        return True

    def _locked_while_waiting(self):
        """Lock the row; False when it waits no more, or another transaction has it."""
        self.flush_recordset()
        self.env.cr.execute(
            "SELECT state FROM duragen_generation_request WHERE id = %s FOR UPDATE SKIP LOCKED",
            [self.id],
            log_exceptions=False,  # the outbox looks again
        )
        found = self.env.cr.fetchone()
        self.invalidate_recordset()
        return found == ("requested",)

    def _shown_as_waiting(self):
        self._notify_pages()
        return True

    def _started(self):
        self.env["duragen.connection"]._claim()
        now = fields.Datetime.now()
        attempts = self.check_attempts if self.maybe_published else 0
        self.write(
            {
                "state": "started",
                "started_at": now,
                "next_start_at": False,
                "start_error": False,
                "failing_since": False,
                "started_where": self.env["duragen.connection"]._target(),
                "check_attempts": attempts,
                "next_check_at": now + self._pause_before_check(attempts),
            }
        )
        self._listen_soon()
        self._notify_pages()
        self.env["duragen.webhook.endpoint"]._emit("generation.started", self)

    def _postpone(self, why):
        now = fields.Datetime.now()
        if not self.start_attempts:
            self._notify_pages()
        self.write(
            {
                "start_attempts": self.start_attempts + 1,
                "next_start_at": now + PAUSE,
                "failing_since": self.failing_since or now,
                "start_error": why[:500],
            }
        )
        _logger.warning("generation %s was not started: %r", self.request_uuid, why)

    def _end_unstarted(self, code, why):
        # A later try would fail as well. Nothing was spent, so the policy does not matter.
        failure = Failure(code, why[:2000])
        self._apply(Outcome(self.request_uuid, self.correlation_uuid, failure=failure))

    def action_give_up(self):
        """End open requests here and return their credits, for managers: Duragen has lost them.

        If an image comes after all, it is charged as any other.
        """
        if not (self.env.su or self.env.user.has_group("duragen.group_manager")):
            raise AccessError(self.env._("Only managers may give a generation up."))
        failure = Failure("INTERNAL", f"given up by {self.env.user.login}")
        for request in self._owned():
            request._lock()
            if request.state in OPEN_STATES:
                outcome = Outcome(request.request_uuid, request.correlation_uuid, failure=failure)
                request._apply(outcome)
        return True

    def action_cancel(self):
        """Cancel requests: drafts at once, the others as soon as Duragen has been asked."""
        for request in self._owned():
            request._lock()
            if request.state == "draft":
                request.write({"state": "canceled", "ended_at": fields.Datetime.now()})
            elif request.state in OPEN_STATES and not request.cancel_requested:
                request.cancel_requested = True
                request.canceled_by_id = self.env.user
                request.next_start_at = fields.Datetime.now()
                request._notify_pages()
                method = "_start" if request.state == "requested" else "_pass_cancel"
                hook = partial(try_unless_quiet, self.env.registry, request.id, method)
                self.env.cr.postcommit.add(hook)
        return True

    def _take_back(self):
        """Cancel a waiting one; False when Duragen could not be reached: the outbox tries again.

        It may be running: Duragen may have received a start whose answer or commit was lost. So it
        ends here only when Duragen says that it does not know it.
        """
        from ..starter.client import DuragenError, NotFoundError, UnavailableError

        try:
            self.env["duragen.connection"]._client().cancel(self.request_uuid)
        except NotFoundError:
            if self.maybe_published:
                return self._publish_to_cancel()
            self._cancel_unstarted()
        except DuragenError as error:
            self._postpone(str(error))
            return not isinstance(error, UnavailableError)
        else:
            self._started()
        return True

    def _cancel_unstarted(self):
        # Nothing was spent for it yet, so the policy on cancellations does not matter.
        failure = Failure("CANCELED", "canceled before it was started", "canceled")
        self._apply(Outcome(self.request_uuid, self.correlation_uuid, failure=failure))

    def _pass_cancel(self):
        """Ask Duragen to cancel; False when Duragen could not be reached: the outbox asks again.

        The outcome comes as any other does; what ended before that is reconciled.
        """
        from ..starter.client import DuragenError, NotFoundError, UnavailableError

        try:
            self.env["duragen.connection"]._client().cancel(self.request_uuid)
        except NotFoundError:
            if self.maybe_published:
                self.next_start_at = fields.Datetime.now() + PAUSE  # Duragen has not read it yet
                return True
            # Reconciliation finds that out too, and deals with it.
        except DuragenError as error:
            _logger.warning("the cancellation of %s waits: %r", self.request_uuid, error)
            self.next_start_at = fields.Datetime.now() + PAUSE
            return not isinstance(error, UnavailableError)
        self.next_start_at = False
        return True
