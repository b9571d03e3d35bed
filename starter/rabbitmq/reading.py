"""Reading a request from a message: within bounds, strictly, or a reason for a dead letter."""

from collections.abc import Mapping
from email.message import Message as Header
from typing import Any

from aio_pika.abc import AbstractIncomingMessage
from pydantic import ValidationError

from contracts.broker import (
    VERSION_HEADER,
    DeadLetterReason,
    JobFormError,
    requested_event,
)
from contracts.events import SUPPORTED_MAJOR_VERSION, GenerationRequested
from peers.rabbitmq import RabbitTable
from starter.client import MAX_BODY_BYTES
from starter.faults import field_faults
from starter.json_object import NotAnObjectError, NotJsonError, object_of, without_mark

CLOUDEVENT = "application/cloudevents+json"
"""CloudEvents 1.0, JSON event format: the event is in its `data`."""

_TRACE_HEADERS = ("traceparent", "tracestate", "cloudEvents_traceparent", "cloudEvents_tracestate")
_PLAIN_ENCODINGS = frozenset({None, "", "identity", "utf-8", "utf8"})
"""Of the property `content_encoding`; Celery, for one, writes the text's encoding there."""


class RefusedError(Exception):
    """The message starts nothing, now or later. The text quotes nothing of its values."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_request(message: AbstractIncomingMessage, table: RabbitTable) -> GenerationRequested:
    """The event of a message. Raises RefusedError."""
    if len(message.body) > MAX_BODY_BYTES:
        raise RefusedError(
            DeadLetterReason.TOO_LARGE,
            f"the body has {len(message.body)} bytes; {MAX_BODY_BYTES} are the most",
        )
    _check_version(text_header(message.headers, VERSION_HEADER) or SUPPORTED_MAJOR_VERSION)
    try:
        sent = _sent(message)
        event = requested_event(
            sent, correlation_id=message.correlation_id, callback_url=table.callback_url
        )
    except (JobFormError, NotAnObjectError, NotJsonError) as error:
        raise RefusedError(DeadLetterReason.MALFORMED, str(error)) from None
    try:
        return GenerationRequested.model_validate(event)
    except ValidationError as error:
        faults = field_faults(error)
    reason = DeadLetterReason.MALFORMED
    if any(f["field"] == "payloadVersion" and "not supported" in f["message"] for f in faults):
        reason = DeadLetterReason.UNSUPPORTED_VERSION
    raise RefusedError(reason, "; ".join(f"{f['field']}: {f['message']}" for f in faults))


def trace_headers(message: AbstractIncomingMessage) -> dict[str, str]:
    """W3C Trace Context of the message, under its usual names."""
    found: dict[str, str] = {}
    for name in _TRACE_HEADERS:
        if text := text_header(message.headers, name):
            found.setdefault(name.removeprefix("cloudEvents_"), text)
    return found


def text_header(headers: Mapping[str, Any], name: str) -> str | None:
    """A header that is a text, or a number; other clients send bytes for a text."""
    value = headers.get(name)
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) else None


def _check_version(version: str) -> None:
    if version.split(".", maxsplit=1)[0] != SUPPORTED_MAJOR_VERSION:
        raise RefusedError(
            DeadLetterReason.UNSUPPORTED_VERSION,
            f"the header {VERSION_HEADER} is not {SUPPORTED_MAJOR_VERSION}, the version we know",
        )


def _sent(message: AbstractIncomingMessage) -> dict[str, Any]:
    kind = Header()
    kind["Content-Type"] = message.content_type or "application/json"
    charset = str(kind.get_param("charset", "utf-8")).lower()
    named = kind.get_content_type()
    if named not in {"application/json", CLOUDEVENT} or charset not in {"utf-8", "utf8"}:
        raise NotJsonError(f"content_type must be application/json or {CLOUDEVENT}, in UTF-8")
    if message.content_encoding not in _PLAIN_ENCODINGS:
        raise NotJsonError("send the body without a content_encoding")
    found = object_of(without_mark(message.body))
    if named != CLOUDEVENT:
        return found
    if not isinstance(found.get("data"), dict):
        raise NotAnObjectError("data of a CloudEvent must be an object: the event")
    return dict(found["data"])
