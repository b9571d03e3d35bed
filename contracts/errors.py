"""What can go wrong with a generation, as data: one taxonomy for all image services.

ErrorKind
    SYSTEM          our or the service's fault: never charged, retried within bounds
        RATE_LIMITED, QUEUE_TIMEOUT, NOT_SERVED, PROVIDER_UNAVAILABLE, PROVIDER_TIMEOUT,
        OUTCOME_UNKNOWN, JOB_LOST, RESULT_EXPIRED, INVALID_OUTPUT, REFUSED, STORE_UNAVAILABLE,
        CONFLICT, INTERNAL
    CONFIGURATION   our settings or our account: never charged, the next provider, a page
        AUTH_CONFIG, QUOTA_EXHAUSTED, MODEL_CONFIG
    USER            the request itself: charged as the platform's policy says, never retried
        INVALID_INPUT, POLICY_INPUT, POLICY_OUTPUT
    CANCELED        the user took the request back: charged when the service may be paid for it
        CANCELED

Source of the rows: the project's table of provider signals ("One taxonomy for all of them").
QUEUE_TIMEOUT and NOT_SERVED are additions: no worker took the call (or the job) in time;
REFUSED: the service will not, and its words alone hint at the prompt;
STORE_UNAVAILABLE and CONFLICT: the store, and what it holds under the same request id.

A code says what happened, never what it cost: that is `Failure.perhaps_paid`.
"""

from enum import StrEnum
from typing import NamedTuple


class ErrorKind(StrEnum):
    """Whose fault it was; decides charging, messages and alerts."""

    SYSTEM = "system"
    CONFIGURATION = "configuration"
    USER = "user"
    CANCELED = "canceled"


class ErrorCode(StrEnum):
    """`errorCode` of EVT-AIG-003, the type of a failed workflow, the search attribute ErrorCode."""

    RATE_LIMITED = "RATE_LIMITED"
    QUEUE_TIMEOUT = "QUEUE_TIMEOUT"
    """Our rate limit, or calls under way, left no room: no worker took the call, or the job that is
    to be asked after, while there was time."""
    NOT_SERVED = "NOT_SERVED"
    """The same, and no worker serves that queue of the provider's."""
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    PROVIDER_TIMEOUT = "PROVIDER_TIMEOUT"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    JOB_LOST = "JOB_LOST"
    RESULT_EXPIRED = "RESULT_EXPIRED"
    INVALID_OUTPUT = "INVALID_OUTPUT"
    REFUSED = "REFUSED"
    """The service refuses this one request, without a code that says whose fault it is."""
    INVALID_INPUT = "INVALID_INPUT"
    POLICY_INPUT = "POLICY_INPUT"
    POLICY_OUTPUT = "POLICY_OUTPUT"
    AUTH_CONFIG = "AUTH_CONFIG"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    MODEL_CONFIG = "MODEL_CONFIG"
    CANCELED = "CANCELED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    """The store is away or refuses us. Nothing is paid for while that is known."""
    CONFLICT = "CONFLICT"
    """The store has an image of another request under the same id."""
    INTERNAL = "INTERNAL"


class Charge(StrEnum):
    """What Odoo books: `RELEASE` gives the reservation back, `POLICY` lets the platform decide.

    `IF_PAID` takes the price when `mayHaveBeenPaid` is true, that is once the paid call was begun;
    before, it gives the reservation back. Otherwise canceling would make paid calls free.
    """

    RELEASE = "release"
    POLICY = "policy"
    IF_PAID = "if_paid"


class Alert(StrEnum):
    """Whether and when administrators get an alert."""

    NEVER = "never"
    COUNT = "count"
    IF_IT_LASTS = "if_it_lasts"
    BY_RATE = "by_rate"
    ALWAYS = "always"
    PAGE = "page"


class ErrorRule(NamedTuple):
    """One row of the taxonomy.

    `retry`: the same activity is tried again (spec: 2 retries, 5 s). `next_route`: when that is
    exhausted, the next provider is tried. Both only while another submission may be paid for.
    `user_message` is the only text an end user sees.
    """

    kind: ErrorKind
    retry: bool
    next_route: bool
    charge: Charge
    alert: Alert
    retry_suggestion: bool
    user_message: str


_BUSY = "The image service is busy at the moment. Please try again in a few minutes."
_DELAYED = "Your image took too long this time. Nothing was charged. Please try again."
_OUR_FAULT = "Something is wrong on our side. Nothing was charged. Please try again later."
_REFUSED = (
    "The image service refused this request. Nothing was charged."
    " Please change your prompt, or try again later."
)
_REPHRASE = "Your prompt goes against the image service's content rules. Please rephrase it."
_REPHRASE_OUTPUT = (
    "The image made from your prompt went against the image service's content rules."
    " Please rephrase your prompt."
)
# spec: error-handling.sequence, 9.5 (the wording of INVALID_INPUT)
_WHAT_TO_FIX = "Invalid input detected. Please review your prompt and parameters."

_S, _C, _U = ErrorKind.SYSTEM, ErrorKind.CONFIGURATION, ErrorKind.USER
_RELEASE, _POLICY, _IF_PAID = Charge.RELEASE, Charge.POLICY, Charge.IF_PAID

TAXONOMY: dict[ErrorCode, ErrorRule] = {
    #                                          kind retry  next   charge    alert              again
    ErrorCode.RATE_LIMITED: ErrorRule(_S, True, True, _RELEASE, Alert.IF_IT_LASTS, True, _BUSY),
    ErrorCode.QUEUE_TIMEOUT: ErrorRule(_S, False, True, _RELEASE, Alert.IF_IT_LASTS, True, _BUSY),
    ErrorCode.NOT_SERVED: ErrorRule(_S, False, True, _RELEASE, Alert.ALWAYS, True, _OUR_FAULT),
    ErrorCode.PROVIDER_UNAVAILABLE: ErrorRule(_S, True, True, _RELEASE, Alert.BY_RATE, True, _BUSY),
    ErrorCode.PROVIDER_TIMEOUT: ErrorRule(_S, True, True, _RELEASE, Alert.BY_RATE, True, _DELAYED),
    ErrorCode.OUTCOME_UNKNOWN: ErrorRule(_S, True, True, _RELEASE, Alert.COUNT, True, _DELAYED),
    ErrorCode.JOB_LOST: ErrorRule(_S, False, True, _RELEASE, Alert.ALWAYS, True, _DELAYED),
    ErrorCode.RESULT_EXPIRED: ErrorRule(_S, True, True, _RELEASE, Alert.ALWAYS, True, _DELAYED),
    ErrorCode.INVALID_OUTPUT: ErrorRule(_S, True, True, _RELEASE, Alert.BY_RATE, True, _BUSY),
    ErrorCode.REFUSED: ErrorRule(_S, False, True, _RELEASE, Alert.BY_RATE, True, _REFUSED),
    ErrorCode.STORE_UNAVAILABLE: ErrorRule(
        _S, True, False, _RELEASE, Alert.ALWAYS, True, _OUR_FAULT
    ),
    ErrorCode.CONFLICT: ErrorRule(_S, False, False, _RELEASE, Alert.ALWAYS, True, _OUR_FAULT),
    ErrorCode.INVALID_INPUT: ErrorRule(_U, False, False, _POLICY, Alert.NEVER, False, _WHAT_TO_FIX),
    ErrorCode.POLICY_INPUT: ErrorRule(_U, False, False, _POLICY, Alert.BY_RATE, False, _REPHRASE),
    ErrorCode.POLICY_OUTPUT: ErrorRule(
        _U, False, False, _POLICY, Alert.BY_RATE, False, _REPHRASE_OUTPUT
    ),
    ErrorCode.AUTH_CONFIG: ErrorRule(_C, False, True, _RELEASE, Alert.PAGE, True, _OUR_FAULT),
    ErrorCode.QUOTA_EXHAUSTED: ErrorRule(_C, False, True, _RELEASE, Alert.PAGE, True, _OUR_FAULT),
    ErrorCode.MODEL_CONFIG: ErrorRule(_C, False, True, _RELEASE, Alert.PAGE, True, _OUR_FAULT),
    ErrorCode.CANCELED: ErrorRule(
        ErrorKind.CANCELED, False, False, _IF_PAID, Alert.NEVER, False, "The request was canceled."
    ),
    ErrorCode.INTERNAL: ErrorRule(_S, False, False, _RELEASE, Alert.ALWAYS, True, _OUR_FAULT),
}


class DeliveryError(StrEnum):
    """Why an outcome has not reached Odoo; the type of the delivery activity's error."""

    ODOO_UNAVAILABLE = "ODOO_UNAVAILABLE"
    """Refused connection, timeout, 408, 425, 429, 5xx: tried again, then parked."""

    ODOO_REFUSED = "ODOO_REFUSED"
    """Any other answer: a person must fix something, so it is parked at once."""

    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    """The store did not give the image, or the keys for a link: tried again, then parked."""
