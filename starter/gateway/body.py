"""Reading EVT-AIG-001 from a request: bounded, strict, and never a 500."""

from email.message import Message
from typing import Any

from fastapi import Request
from pydantic import ValidationError

from contracts.events import GenerationRequested
from starter.gateway.problems import (
    RETRY_AFTER_SECONDS,
    FieldError,
    ProblemError,
    field_errors,
    invalid,
)
from starter.json_object import NotAnObjectError, NotJsonError, object_of, without_mark
from starter.request_body import BodyRefusedError, BodyRoom, bounded_body

WRAPPERS = ("body", "json", "data", "payload", "event")
"""Where other programs carry an event: N8N's webhook node and items, CloudEvents, and habit."""

_FIELDS = frozenset(field.alias for field in GenerationRequested.model_fields.values())


async def read_event(
    request: Request, max_bytes: int, room: BodyRoom, caller: str
) -> GenerationRequested:
    """The event of the request's body. Raises ProblemError 400, 408, 413, 415, 422 or 503."""
    _check_content_type(request)
    try:
        sent_bytes = await bounded_body(request, max_bytes, room, caller)
    except BodyRefusedError as error:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.status == 503 else None
        raise ProblemError(error.status, error.detail, headers=headers) from None
    raw = without_mark(sent_bytes)
    sent = _object_of(raw)
    try:
        return GenerationRequested.model_validate_json(raw)
    except ValidationError as error:
        faults = field_errors(error)
    if any(fault.rule == "json_invalid" for fault in faults):
        raise ProblemError(400, "the body is not valid JSON")
    raise invalid([*_wrapped(sent), *faults])


def _check_content_type(request: Request) -> None:
    given = Message()
    given["Content-Type"] = request.headers.get("content-type", "")
    charset = str(given.get_param("charset", "utf-8")).lower()
    if given.get_content_type() != "application/json" or charset not in {"utf-8", "utf8"}:
        raise ProblemError(415, "send Content-Type: application/json, in UTF-8")


def _object_of(raw: bytes) -> dict[str, Any]:
    try:
        return object_of(raw)
    except NotJsonError as error:
        raise ProblemError(400, str(error)) from None
    except NotAnObjectError as error:
        raise invalid([FieldError(field="event", rule="type", message=str(error))]) from None


def _wrapped(sent: dict[str, Any]) -> list[FieldError]:
    """The field that the event seems to be in, when nothing of it is outside."""
    if _FIELDS & sent.keys():
        return []
    for name in WRAPPERS:
        inside = sent.get(name)
        is_text = isinstance(inside, str) and '"requestId"' in inside
        if is_text or (isinstance(inside, dict) and _FIELDS & inside.keys()):
            message = f"is the event inside `{name}`? Send the event alone"
            return [FieldError(field="event", rule="wrapped", message=message)]
    return []
