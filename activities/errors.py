"""How an activity says that something went wrong.

ProviderError       an image service, or the store, did not give us an image; carries an ErrorCode
OdooError           Odoo did not take an outcome; carries a DeliveryError
    OdooAwayError   it was not tried, because Odoo is known to be away

Both become Temporal's ApplicationError at the edge of the activity: its type is the code, its
details hold the Failure, and the taxonomy decides whether it is tried again.
"""

from datetime import timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from contracts.errors import DeliveryError, ErrorCode, ErrorKind
from contracts.generation import MAX_DETAIL_CHARACTERS, Failure
from contracts.odoo_health import Held
from peers.redaction import redact

LONGEST_RETRY_AFTER_SECONDS = 10.0
"""Seconds that Odoo may ask for between two tries. What waits longer is shown as parked, so that
administrators see it and operators can act on it."""


class ProviderError(Exception):
    """No image.

    `perhaps_paid` says whether the provider may have charged for what failed: True where no answer
    came, or one came from something between us and the provider, or it brought what is no image;
    False where the provider itself says that it has made nothing. None leaves it to the activity: a
    submission that was refused is not paid for, a job that was accepted is.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        perhaps_paid: bool | None = None,
        worker_lost: bool = False,
        final: bool = False,
    ) -> None:
        super().__init__(detail)
        cut = detail[:MAX_DETAIL_CHARACTERS]
        self.failure = Failure(code=code, detail=cut, hint=hint, worker_lost=worker_lost)
        self.retry_after = retry_after
        self.perhaps_paid = perhaps_paid
        self.final = final
        self.keep_asking = False
        """A job was asked after, which costs nothing: a refusal need not be the end."""

    @property
    def ends(self) -> bool:
        """The activity is not tried again."""
        return self.final or not (self.failure.rule.retry or self.keep_asking)

    def settle(self, *, paid: bool, final: bool, repeatable: bool = False) -> None:
        """Record what the failure may have cost, and whether it ends the tries."""
        known = {"perhaps_paid": int(paid), "repeatable": repeatable}
        self.failure = self.failure.model_copy(update=known)
        self.final = self.final or final

    def conceal(self, secret: str) -> None:
        """Take `secret` out of everything that is said."""
        detail, hint = redact(secret, self.failure.detail), self.failure.hint
        hint = hint if hint is None or redact(secret, hint) == hint else None
        self.failure = self.failure.model_copy(update={"detail": detail, "hint": hint})
        self.args = (detail,)

    def to_application_error(self) -> ApplicationError:
        """The same for Temporal; `final` forbids a retry that the taxonomy would allow."""
        return ApplicationError(
            self.failure.detail,
            self.failure,
            type=self.failure.code,
            non_retryable=self.ends,
            next_retry_delay=_delay(self.retry_after),
            # A user's error is an expected answer: it must not stand in the worker's log as ours.
            category=ApplicationErrorCategory.BENIGN
            if self.failure.rule.kind is ErrorKind.USER
            else ApplicationErrorCategory.UNSPECIFIED,
        )


class OdooError(Exception):
    """Odoo was away (tried again), or refused the outcome (parked at once)."""

    def __init__(self, code: DeliveryError, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail[:MAX_DETAIL_CHARACTERS]
        self.retry_after = retry_after

    def to_application_error(self) -> ApplicationError:
        """The same for Temporal. Who asks for a longer wait than the retries' is parked at once."""
        asks_long = self.retry_after is not None and self.retry_after > LONGEST_RETRY_AFTER_SECONDS
        return ApplicationError(
            self.detail,
            type=self.code,
            non_retryable=self.code is DeliveryError.ODOO_REFUSED or asks_long,
            next_retry_delay=None if asks_long else _delay(self.retry_after),
        )


class OdooAwayError(OdooError):
    """The outcome was not tried: it is held until the Odoo at `odoo` is back."""

    def __init__(self, odoo: str, since: str) -> None:
        detail = f"{odoo} is away since {since}: not tried; it goes on by itself when it is back"
        super().__init__(DeliveryError.ODOO_UNAVAILABLE, detail)
        self.since = since

    def to_application_error(self) -> ApplicationError:
        """The same for Temporal; an expected answer, so that the log has no line for each."""
        return ApplicationError(
            self.detail,
            Held(away_since=self.since),
            type=self.code,
            non_retryable=True,
            category=ApplicationErrorCategory.BENIGN,
        )


def _delay(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
