"""Reading EVT-AIG-001 from a request: bounded, strict, and never a 500."""

import json
from codecs import BOM_UTF8
from email.message import Message
from typing import Any

from fastapi import Request
from pydantic import ValidationError

from contracts.events import GenerationRequested
from peers.json_bounds import JsonBoundsError, check_json
from starter.gateway.problems import (
    RETRY_AFTER_SECONDS,
    FieldError,
    ProblemError,
    field_errors,
    invalid,
)
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
    # RFC 8259, 8.1: a byte order mark may be ignored, and some senders begin with one.
    raw = sent_bytes.removeprefix(BOM_UTF8)
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
        check_json(raw)
        found = json.loads(
            raw.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except JsonBoundsError as error:
        raise ProblemError(400, f"the body is {error}") from None
    except ValueError as error:  # also UnicodeDecodeError, and numbers of thousands of digits
        place = ""
        if isinstance(error, json.JSONDecodeError):
            place = f" (line {error.lineno}, column {error.colno})"
        raise ProblemError(400, f"the body is not valid JSON{place}") from None
    if isinstance(found, dict):
        return found
    message = "must be a JSON object"
    if isinstance(found, list | str):
        message += f": send the event itself, not a {'list' if isinstance(found, list) else 'text'}"
    raise invalid([FieldError(field="event", rule="type", message=message)])


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


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key twice: which one was meant?")
    return found


def _no_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
