"""The events on a message broker: names, headers and bodies, as the specification draws them.

spec: developer-api.sequence, steps 7, 8, 10 to 13; error-handling.sequence, step 3. The sequences
name the events AIGenerationJob…; their fields are those of EVT-AIG-001 to 003 beside the few that
the sequences themselves have.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from contracts.events import (
    SUPPORTED_MAJOR_VERSION,
    AbsoluteUrl,
    GenerationFailed,
    ImageMetadata,
    PayloadVersion,
    RequestField,
    Uuid,
    WireModel,
)

JOB_REQUESTED = "AIGenerationJobRequested"
JOB_COMPLETED = "AIGenerationJobCompleted"
JOB_FAILED = "AIGenerationJobFailed"

EXCHANGE = "ai-generation"
"""Topic. Its name is ours, for the sequences name none; the events' names are its routing keys."""

REQUESTS_QUEUE = "duragen.requests"
DEAD_LETTER_EXCHANGE = "ai-generation.dead-letters"
DEAD_LETTER_QUEUE = "duragen.dead-letters"

VERSION_HEADER = "schema-version"
"""The major version of the body. A message without it is of version 1."""

REASON_HEADER, DETAIL_HEADER = "x-duragen-reason", "x-duragen-detail"
"""Of a dead letter: a DeadLetterReason, and a sentence for operators."""

SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
"""Standard Webhooks, as in a callback: of outcomes for an Odoo that has a signing secret."""


class DeadLetterReason(StrEnum):
    """Why nothing was started for a message."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNSUPPORTED_VERSION = "unsupported_version"
    CALLBACK_NOT_ALLOWED = "callback_not_allowed"
    CONFLICT = "conflict"
    """The requestId is taken by another payload."""
    DELIVERY_LIMIT = "delivery_limit"
    """The broker's own: nobody has settled it, however often it was given out."""


class JobFormError(ValueError):
    """The body is none of those that are known; the text says what is expected."""


REQUEST_FORMS = {"jobDetails": "generationRequestId", "params": "JobID"}
"""What holds the fields in the specification's bodies, and the name of the id beside it."""

_BESIDE = ("correlationId", "userId", "callbackUrl", "payloadVersion")
"""Fields that may also stand beside what holds the others."""


def requested_event(
    body: Mapping[str, Any], *, correlation_id: str | None, callback_url: str | None
) -> dict[str, Any]:
    """The fields of EVT-AIG-001, not validated, of any body that is known.

    That is the event itself, `{"jobDetails": {…}, "generationRequestId"}` and
    `{"params": {…}, "JobID"}`. `correlation_id` is the message's own, and `callback_url` where
    outcomes go as a rule; both are for a body without one. The sequences have no correlationId: it
    is the request's id then. Raises JobFormError.
    """
    found = [holder for holder in REQUEST_FORMS if holder in body]
    if len(found) > 1:
        raise JobFormError(f"the body has {' and '.join(found)}: send one of them")
    event = _unfolded(body, found[0]) if found else dict(body)
    if found and not (event.get("correlationId") or correlation_id):
        event["correlationId"] = event["requestId"]
    usual = {"correlationId": correlation_id, "callbackUrl": callback_url}
    for name, value in usual.items():
        if value and not event.get(name):
            event[name] = value
    return event


def _unfolded(body: Mapping[str, Any], holder: str) -> dict[str, Any]:
    details, name = body[holder], REQUEST_FORMS[holder]
    if not isinstance(details, Mapping):
        raise JobFormError(f"{holder} must be an object with the fields of EVT-AIG-001")
    given = body.get(name)
    if not given:
        raise JobFormError(f"{name} is missing beside {holder}: it is the request's id")
    event = {name: body[name] for name in _BESIDE if name in body} | dict(details)
    if str(event.get("requestId") or given).lower() != str(given).lower():
        raise JobFormError(f"{name} and {holder}.requestId differ")
    return event | {"requestId": given}


class JobCompleted(WireModel):
    """AIGenerationJobCompleted: the image is there.

    EVT-AIG-002 without its link, which would expire while the message waits. `assetURL` is an
    address of the gateway: whoever has a key of the generation's owner is led to a fresh link.
    """

    job_id: Annotated[Uuid, Field(alias="JobID")]
    request_id: Uuid
    correlation_id: Uuid
    status: Literal["completed"]
    asset_url: Annotated[AbsoluteUrl, Field(alias="assetURL")]
    image_metadata: ImageMetadata
    hash_value: Annotated[str, Field(min_length=1)]
    ignored_fields: tuple[RequestField, ...] | None = None
    payload_version: PayloadVersion = SUPPORTED_MAJOR_VERSION


class JobFailed(GenerationFailed):
    """AIGenerationJobFailed: EVT-AIG-003 with the job's id. Also of one that was canceled."""

    job_id: Annotated[Uuid, Field(alias="JobID")]
    payload_version: PayloadVersion = SUPPORTED_MAJOR_VERSION


JobOutcome = JobCompleted | JobFailed
