"""Outcomes: what Duragen delivers, applied once, however often and in whatever order it comes."""

import base64
import logging
import re
from urllib.parse import unquote, urlsplit

import psycopg2
from odoo import api, fields, models
from odoo.exceptions import AccessError, MissingError, UserError, ValidationError

from .. import fetching, wire
from ..after_commit import in_own_transaction
from ..exceptions import AwayError, SettingsError
from ..messages import english, rule
from ..s3 import S3Error

_logger = logging.getLogger(__name__)

_OPEN = frozenset({"requested", "started"})
_FOLLOWS = {
    # An image may come after a failure, when operators rerun it; nothing else follows an end.
    "completed": _OPEN | {"failed", "canceled"},
    "failed": _OPEN,
    "canceled": _OPEN,
}

_READ = (
    *("request_uuid", "correlation_uuid", "user_id", "company_id", "state", "price", "charged"),
    *("cancel_requested", "canceled_by_id", "name", "prompt", "model_id", "resolution"),
    *("requested_at", "started_at", "erased_at", "cancel_at"),
    *("origin", "res_model"),
)
"""Read with the request in one query; any other field would be a second one."""

_ENTRY = ("account_id", "kind")


class GenerationOutcome(models.Model):
    """Applies EVT-AIG-002 and EVT-AIG-003: to the record, the image, the ledger, the open pages."""

    _inherit = "duragen.generation.request"

    @api.model
    def apply_event(self, event):
        """Apply EVT-AIG-002 or 003; {"status": "applied" or "repeated", "requestId": …}.

        `repeated` means that nothing changed; `tested`, that it was a connection test's.
        Raises ValidationError (malformed, not this request's, or with a link that does not lead to
        the store), MissingError (no such request), AccessError, UserError (the image cannot be
        fetched now: send the event again).
        """
        if not self.env.su and not self.env.user.has_group("duragen.group_gateway"):
            raise AccessError(self.env._("Only Duragen's own user may deliver outcomes."))
        if test_id := wire.test_of(event):
            if not self.env["duragen.connection"]._take_test(test_id):
                raise MissingError(self.env._("There is no connection test %s.", test_id))
            return {"status": "tested", "requestId": test_id}
        try:
            outcome = wire.parse_outcome(event)
        except wire.WireError as error:
            raise ValidationError("\n".join(error.faults)) from None
        named = [("request_uuid", "=", outcome.request_id)]
        request = self.sudo().search_fetch(named, _READ, limit=1, order="id")
        if not request or request.state == "draft":
            raise MissingError(self.env._("There is no request %s.", outcome.request_id))
        if request.correlation_uuid != outcome.correlation_id:
            raise ValidationError(self.env._("correlationId: is not the one of this request"))
        return {"status": request._apply(outcome), "requestId": request.request_uuid}

    def _apply_failure(self, event):
        """Apply a failure by the names of the specification's other document; as `apply_event`.

        `generationRequestId`, `errorType`, `isSystemError` or `isUserError`; without the
        correlationId, which the request has. spec: error-handling.sequence, 8.1, 9.1.
        """
        given = event if isinstance(event, dict) else {}
        named = [("request_uuid", "=", str(given.get("generationRequestId")).lower())]
        request = self.sudo().search(named, limit=1)
        if not request or request.state == "draft":
            raise MissingError(self.env._("There is no such request."))
        said = (given.get(name) for name in ("errorMessage", "errorDetails", "errorType"))
        return self.apply_event(
            {
                **given,
                "requestId": request.request_uuid,
                "correlationId": request.correlation_uuid,
                "status": "failed",
                "errorMessage": next((text for text in said if text), ""),
            }
        )

    def _apply(self, outcome):
        """Apply an Outcome to this request (sudo); `applied` or `repeated`."""
        self.ensure_one()
        if not self._may_become(outcome.state):
            return "repeated"
        image = outcome.image and self._image_values(outcome.image)
        # The image comes before the lock: fetching may take a while.
        self._lock()
        values = {
            "state": outcome.state,
            "ended_at": fields.Datetime.now(),
            "next_start_at": False,
            "next_check_at": False,
            "progress_note": False,
        }
        if image:
            # Otherwise Odoo would shrink a picture of more than 1920 pixels, and encode it again.
            images = self.env["duragen.generated.image"]
            images.with_context(image_no_postprocess=True).create({"request_id": self.id, **image})
            self._capture()
            ignored = ", ".join(outcome.image.ignored)
            self.write(
                {
                    **values,
                    **_no_failure(),
                    "ignored_fields": ignored or False,
                    "counted": self.charged,
                }
            )
        else:
            failure = outcome.failure
            if self._is_paid_by_user(failure):
                self._capture(self._note_of(failure))
            else:
                self._release()
            self.write({**values, **_failure(failure), "counted": _counts(failure)})
        self._notify_pages()
        self.env["duragen.webhook.endpoint"]._emit(f"generation.{outcome.state}", self)
        return "applied"

    def _may_become(self, state):
        return not self.erased_at and self.state in _FOLLOWS[state]

    def _image_values(self, image):
        values = {name: getattr(image, name) for name in ("format", "size", "width", "height")}
        values["sha256"] = image.sha256
        values["s3_key"] = image.key or (self._key_in(image.url) if image.url else False)
        data = image.data
        try:
            if data is not None:
                data = fetching.verified(image, data)
            elif not self._left_in_s3(values["s3_key"]):
                data = self._fetched(image)
        except fetching.MismatchError as error:
            raise ValidationError(str(error)) from None
        except fetching.ForeignError as error:
            self._refuse_link(str(error))
            raise SettingsError(str(error)) from None
        except fetching.NoAnswerError as error:
            raise AwayError(str(error)) from None
        except fetching.FetchError as error:
            raise UserError(str(error)) from None
        if data is not None:
            values["data"] = base64.b64encode(data)
        return values

    def _left_in_s3(self, key):
        return bool(key) and self.env["duragen.connection"]._setting("image_storage") == "s3"

    def _fetched(self, image):
        connection = self.env["duragen.connection"]
        by_gateway = connection._setting("gateway_url") and not connection._setting("s3_bucket")
        if by_gateway and not image.url:
            image = image._replace(url=self._fresh_link())
        if image.url:
            return fetching.fetch(image, connection._image_origins())
        try:
            data = connection._store().get(image.key, image.size)
        except S3Error as error:
            raise fetching.FetchError(str(error)) from error
        return fetching.verified(image, data)

    def _fresh_link(self):
        """A link to the image of this request, from the gateway of the settings."""
        connection = self.env["duragen.connection"]
        url, key = connection._setting("gateway_url"), connection._setting("gateway_key")
        if not url:
            raise SettingsError(
                self.env._("Set the gateway's address and key: it has links to images.")
            )
        try:
            return fetching.link_of(self.request_uuid, url, key)
        except fetching.GoneError as error:
            raise ValidationError(str(error)) from None
        except fetching.NoAnswerError as error:
            raise AwayError(str(error)) from None
        except fetching.FetchError as error:
            raise UserError(str(error)) from None

    def _refuse_link(self, why):
        """Show managers what to set: Duragen keeps the image, and delivers it again until then."""
        _logger.warning("the image of request %s was not fetched: %s", self.request_uuid, why)
        try:
            # Of its own: the refusal that follows takes back all that this transaction writes.
            in_own_transaction(self.env.registry, self.id, "_note_open", why)
        except psycopg2.Error:
            _logger.exception("request %s has no note of it", self.request_uuid)

    def _note_open(self, note):
        """Leave a note, unless the request has ended or another transaction is at it."""
        self.env.cr.execute(
            "UPDATE duragen_generation_request SET progress_note = %s WHERE id ="
            " (SELECT id FROM duragen_generation_request WHERE id = %s AND state = ANY(%s)"
            " FOR UPDATE SKIP LOCKED)",
            [note[:500], self.id, list(_OPEN)],
            log_exceptions=False,
        )

    def _key_in(self, url):
        """The key of our own store in a link; False when it is another store's link."""
        owner = "(?:[a-z0-9][a-z0-9_-]{0,39}/)?"
        # The last place that fits: the bucket's name may be "generations", too.
        key = rf".*/(generations/{owner}{self.request_uuid}\.[a-z0-9.+-]+)"
        found = re.fullmatch(key, unquote(urlsplit(url).path))
        return found[1] if found else False

    def _booked(self):
        """This request's entries, by kind."""
        entries = self.env["duragen.credit.entry"].sudo()
        of_this = [("request_id", "=", self.id)]
        return {entry.kind: entry for entry in entries.search_fetch(of_this, _ENTRY)}

    def _account(self, booked):
        if "reserve" in booked:
            return booked["reserve"].account_id
        return self.env["duragen.account"]._of(self.user_id, self.company_id)

    def _capture(self, note=None):
        """Make the reservation final; take the price again when it has been given back.

        It is free when the user asked again meanwhile and pays for that: an image is paid once.
        """
        booked = self._booked()
        if "capture" in booked:
            return
        stands = _reservation_stands(booked)
        free = not stands and self._is_paid_by_another()
        delta = 0 if stands or free else -self.price
        self._account(booked)._book("capture", delta, request=self, note=note)
        self.charged = not free

    def _is_paid_by_another(self):
        paid_again = [("retry_of_id", "=", self.id), ("charged", "=", True)]
        return bool(self.search_count(paid_again, limit=1))

    def _release(self):
        """Give the reservation back, unless it is final or given back already."""
        booked = self._booked()
        if _reservation_stands(booked):
            self._account(booked)._book("release", self.price, request=self)
            self.charged = False


def _reservation_stands(booked):
    return "reserve" in booked and not booked.keys() & {"capture", "release"}


def _counts(failure):
    """Whether a quota loses a place: for what may have been paid, and for what the user did wrong.

    A quota bounds what is spent, so it does not ask whose fault it was.
    """
    refused = failure.by_policy and failure.code != "CANCELED"
    return failure.may_have_been_paid or refused


def _failure(failure):
    code = failure.code or "INTERNAL"
    kind, again = rule(code)
    # An unknown code has the text of our own faults, which says that nothing was charged.
    theirs = failure.by_policy and kind == "system"
    suggested = failure.retry_suggestion
    return {
        "error_code": code[:100],
        "error_type": (failure.type or kind)[:100],
        "error_message": failure.message,
        "user_message": failure.user_message or english("INVALID_INPUT" if theirs else code),
        "retry_suggestion": again if suggested is None else suggested,
        "may_have_been_paid": failure.may_have_been_paid,
    }


def _no_failure():
    names = ("error_code", "error_type", "error_message", "user_message", "start_error")
    names += ("user_error",)
    return {
        **dict.fromkeys(names, False),
        "retry_suggestion": False,
        "may_have_been_paid": False,
    }
