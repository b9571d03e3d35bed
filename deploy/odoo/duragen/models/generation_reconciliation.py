"""Reconciliation: asks Duragen about requests that have been open for long, and applies answers."""

import logging
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import psycopg2
from odoo import api, fields, models
from odoo.exceptions import UserError

from ..after_commit import in_own_transaction
from ..messages import english
from ..wire import POLICY_CODES, Failure, Image, Outcome

_logger = logging.getLogger(__name__)

BATCH, CHUNK, ASKERS = 1_000, 50, 8
"""How many requests one run asks about; how many it asks about before it applies the answers; how
many questions it asks at once. The rest waits for the next run."""

RUN_SECONDS = 60.0
"""Odoo ends a cron that takes two minutes."""

ENDED = frozenset({"completed", "failed", "canceled", "abandoned"})

LONGEST_PAUSE = timedelta(hours=1)


class GenerationReconciliation(models.Model):
    """What Temporal knows of a request, and what that means for the record."""

    _inherit = "duragen.generation.request"

    @api.model
    def _cron_reconcile(self):
        """Ask about what has been generating for longer than `reconcile_minutes`."""
        from ..starter.client import DuragenError, UnavailableError

        due = [("state", "=", "started"), ("next_check_at", "<=", fields.Datetime.now())]
        requests = self.search(due, order="next_check_at", limit=BATCH)
        try:
            client = self.env["duragen.connection"]._client()
        except DuragenError as error:
            _logger.warning("reconciliation waits: %r", error)
            return
        until = time.monotonic() + RUN_SECONDS
        with ThreadPoolExecutor(ASKERS) as askers:
            for start in range(0, len(requests), CHUNK):
                if time.monotonic() > until:
                    return
                chunk = requests[start : start + CHUNK]
                answers = list(askers.map(partial(_ask, client), chunk.mapped("request_uuid")))
                if all(isinstance(answer, UnavailableError) for answer in answers):
                    _logger.warning("reconciliation waits: %r", answers[0])
                    return
                self._reconcile_chunk(dict(zip(chunk.ids, answers, strict=True)))

    @api.model
    def _reconcile_chunk(self, answers):
        """Apply Duragen's answers, by id: those who wait together, the others one by one."""
        waiting = defaultdict(list)
        for request_id, answer in answers.items():
            waiting[self._working_note(answer)].append(request_id)
        todo = [([each], "_reconcile", answers[each]) for each in waiting.pop("", [])]
        todo += [(ids, "_wait_on", note) for note, ids in waiting.items()]
        for ids, method, argument in todo:
            try:
                in_own_transaction(self.env.registry, ids, method, argument)
            except psycopg2.OperationalError:
                continue  # an outcome is coming right now; the next run looks again
            except Exception:
                _logger.exception("requests %s were not reconciled", ids)

    def action_refresh(self):
        """Ask Duragen about these requests now. Raises UserError when it cannot be reached."""
        from ..starter.client import DuragenError, UnavailableError

        open_ones = self._owned().filtered(lambda each: each.state == "started")
        try:
            client = self.env["duragen.connection"]._client()
        except DuragenError as error:
            raise UserError(str(error)) from None
        answers = {}
        with ThreadPoolExecutor(ASKERS) as askers:
            for start in range(0, len(open_ones), ASKERS):
                chunk = open_ones[start : start + ASKERS]
                said = list(askers.map(partial(_ask, client), chunk.mapped("request_uuid")))
                answers.update(zip(chunk, said, strict=True))
                if all(isinstance(each, UnavailableError) for each in said):
                    break
        if answers and all(isinstance(each, UnavailableError) for each in answers.values()):
            raise UserError(self.env._("Duragen cannot be reached at the moment."))
        for request, answer in answers.items():
            request._reconcile(answer)
        return True

    def _pause_before_check(self, attempts):
        minutes = max(1, self.env["duragen.connection"]._number("reconcile_minutes"))
        first = timedelta(minutes=minutes)
        return min(first * 2 ** min(attempts, 10), max(first, LONGEST_PAUSE))

    def _reconcile(self, answer):
        """Apply Duragen's answer, which may be an error, to one request (sudo)."""
        from ..starter.client import DuragenError, NotFoundError

        self.ensure_one()
        if self.state != "started":
            return
        try:
            if isinstance(answer, NotFoundError):
                note = self._unknown_to_duragen()
            elif isinstance(answer, Exception):
                note = f"{type(answer).__name__}: {answer}"
            else:
                note = self._healed(answer)
        except (DuragenError, UserError) as error:
            note = str(error)
        if self.state == "started":
            self._ask_later(note)

    def _wait_on(self, note):
        """Ask later about those that are still open, but for those whose outcome is coming now."""
        self.env.cr.execute(
            "SELECT id FROM duragen_generation_request WHERE id = ANY(%s) AND state = 'started'"
            " FOR UPDATE SKIP LOCKED",
            [self.ids],
            log_exceptions=False,
        )
        self.browse(row[0] for row in self.env.cr.fetchall())._ask_later(note)

    def _ask_later(self, note):
        """Each time after twice the pause, up to an hour."""
        now = fields.Datetime.now()
        for attempts, requests in self.grouped("check_attempts").items():
            requests.write(
                {
                    "progress_note": note[:500],
                    "check_attempts": attempts + 1,
                    "next_check_at": now + self._pause_before_check(attempts),
                }
            )

    @api.model
    def _working_note(self, answer):
        """A note for operators when Duragen still works on it; empty when there is more to do."""
        if isinstance(answer, Exception) or answer.get("parked"):
            return ""
        state = str(answer.get("state"))
        if state == "storing":
            # It may take hours, and it is paid for: neither started again nor ended here.
            return self.env._(
                "The image is made. It waits for the image store, which Duragen cannot reach."
            )
        return "" if state in ENDED else self.env._("Duragen says: %s.", state)

    def _healed(self, status):
        """Apply a status to the record; a note for operators, empty if the outcome was applied."""
        state, image, error = status["state"], status.get("image"), status.get("error")
        parked = status.get("parked")
        if parked:
            # Odoo runs, since it asks: the outcome need not wait for its next try.
            self.env["duragen.connection"]._client().redeliver(self.request_uuid)
            return self.env._(
                "The outcome was parked (%s); Odoo asked for it again.", parked.get("code")
            )
        if note := self._working_note(status):
            return note
        if image:
            names = ("format", "size", "width", "height", "sha256")
            found = Image(*(image[name] for name in names), key=image["key"])
            outcome = Outcome(self.request_uuid, self.correlation_uuid, image=found)
        else:
            failure = _failure(error)
            if state == "failed" and failure.code == "INVALID_INPUT":
                # The request was sound. Duragen refused the address of this Odoo, which is not on
                # its allow list, and delivered nothing. That is not the user's error.
                failure = failure._replace(code="INTERNAL", by_policy=False, user_message=None)
            outcome = Outcome(self.request_uuid, self.correlation_uuid, failure=failure)
        self._apply(outcome)
        return ""

    def _unknown_to_duragen(self):
        """Start the request again, under the same id: Temporal has lost or forgotten its workflow.

        Or it waits at the broker, where it may then stand twice. An image that was made before is
        found in the store by that id, so it is not paid twice.
        """
        target = self.env["duragen.connection"]._target()
        if self.started_where and self.started_where != target:
            # It may still run where it was started, so a second start could be paid as well.
            return self.env._(
                "It was started at %s; the Duragen in the settings does not know it.",
                self.started_where,
            )
        self._lock()
        if self.state != "started":
            return ""
        if self.cancel_requested and not self.maybe_published:
            self._cancel_unstarted()
            return ""
        if self.maybe_published:
            self._renew_callback()
        self.write(
            {
                "state": "requested",
                "next_start_at": fields.Datetime.now(),
                "next_check_at": False,
                "check_attempts": self.check_attempts + 1,
                "progress_note": self._note_on_lost(),
            }
        )
        self._notify_pages()
        return ""


def _ask(client, request_id):
    """The status of a request, or the error in its place: this runs in a thread.

    What Temporal lists the generation by is enough for nearly all. A worker would be asked for each
    of a thousand, and they are slow when workers are busy.
    """
    try:
        found = client.status(request_id, ask_worker=False)
        unexplained = found.get("state") == "parked" and not found.get("parked")
        return client.status(request_id) if unexplained else found
    except Exception as error:  # whatever it is, it concerns only this request
        return error


def _failure(error):
    said = error or {}
    code = said.get("code") or "INTERNAL"
    hint = said.get("hint")
    message = said.get("userMessage") or (f"{english(code)} {hint}" if hint else None)
    return Failure(
        code=code,
        message=said.get("detail") or said.get("userMessage") or "ended without an outcome",
        user_message=message,
        by_policy=code in POLICY_CODES,
        may_have_been_paid=bool(said.get("mayHaveBeenPaid")),
    )
