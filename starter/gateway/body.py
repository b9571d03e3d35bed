"""Reading a request's body: bounded, strict, and never a 500."""

from email.message import Message
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError

from contracts.events import GenerationRequested, WireModel
from starter.gateway.problems import (
    RETRY_AFTER_SECONDS,
    FieldError,
    ProblemError,
    field_errors,
    invalid,
)
from starter.json_object import NotAnObjectError, NotJsonError, object_of, without_mark
from starter.request_body import BodyRefusedError, BodyRoom, bounded_body

Model = TypeVar("Model", bound=WireModel)

WRAPPERS = ("body", "json", "data", "payload", "event")
"""Where other programs carry an event: N8N's webhook node and items, CloudEvents, and habit."""

_FIELDS = frozenset(field.alias for field in GenerationRequested.model_fields.values())


async def read_event(
    request: Request, max_bytes: int, room: BodyRoom, caller: str
) -> GenerationRequested:
    """The event of the request's body. Raises ProblemError 400, 408, 413, 415, 422 or 503."""
    raw = await _read(request, max_bytes, room, caller)
    return _of(GenerationRequested, raw, _wrapped(_object_of(raw, "event")))


async def read_model(
    model: type[Model], request: Request, max_bytes: int, room: BodyRoom, caller: str
) -> Model:
    """The model of the request's body. Raises ProblemError as `read_event`."""
    raw = await _read(request, max_bytes, room, caller)
    _object_of(raw, "request")
    return _of(model, raw)


async def _read(request: Request, max_bytes: int, room: BodyRoom, caller: str) -> bytes:
    _check_content_type(request)
    try:
        sent = await bounded_body(request, max_bytes, room, caller)
    except BodyRefusedError as error:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.status == 503 else None
        raise ProblemError(error.status, error.detail, headers=headers) from None
    return without_mark(sent)


def _of(model: type[Model], raw: bytes, known: list[FieldError] | None = None) -> Model:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        faults = field_errors(error)
    if any(fault.rule == "json_invalid" for fault in faults):
        raise ProblemError(400, "the body is not valid JSON")
    raise invalid([*(known or []), *faults])


def _check_content_type(request: Request) -> None:
    given = Message()
    given["Content-Type"] = request.headers.get("content-type", "")
    charset = str(given.get_param("charset", "utf-8")).lower()
    if given.get_content_type() != "application/json" or charset not in {"utf-8", "utf8"}:
        raise ProblemError(415, "send Content-Type: application/json, in UTF-8")


def _object_of(raw: bytes, name: str) -> dict[str, Any]:
    try:
        return object_of(raw)
    except NotJsonError as error:
        raise ProblemError(400, str(error)) from None
    except NotAnObjectError as error:
        raise invalid([FieldError(field=name, rule="type", message=str(error))]) from None


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
