"""The AsyncAPI 3.0 document of what goes over the message broker, made from the models.

    python -m contracts.asyncapi docs/asyncapi.json

The names are the settings' defaults.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from contracts.broker import (
    DEAD_LETTER_QUEUE,
    DETAIL_HEADER,
    EXCHANGE,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_REQUESTED,
    REASON_HEADER,
    REQUEST_FORMS,
    REQUESTS_QUEUE,
    SIGNATURE_HEADERS,
    VERSION_HEADER,
    DeadLetterReason,
    JobCompleted,
    JobFailed,
)
from contracts.events import SUPPORTED_MAJOR_VERSION, GenerationRequested
from contracts.schemas import Plain

AMQP_BINDING = "0.3.0"
REQUEST = "Request"
"""The name, among the schemas, of all bodies that ask for a generation."""

_TEXT = {"type": "string"}
_VERSION = {VERSION_HEADER: {**_TEXT, "description": "The body's major version; 1 when absent."}}
_TRACE = {"traceparent": {**_TEXT, "description": "W3C Trace Context."}}
_OUTCOME = {
    **_VERSION,
    **_TRACE,
    "X-Correlation-ID": {**_TEXT, "format": "uuid"},
    **{
        name: {**_TEXT, "description": "Standard Webhooks; where the Odoo has a signing secret."}
        for name in SIGNATURE_HEADERS
    },
}
_DEAD = {
    REASON_HEADER: {**_TEXT, "enum": [*DeadLetterReason]},
    DETAIL_HEADER: {**_TEXT, "description": "A sentence for operators."},
}


def document() -> dict[str, Any]:
    """The whole of it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Duragen over RabbitMQ",
            "version": SUPPORTED_MAJOR_VERSION,
            "description": "Asks for AI image generations, and says how they ended. Every message"
            " may come twice: `message_id` is the same then.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "rabbitmq.example.com:5671",
                "protocol": "amqps",
                "protocolVersion": "0.9.1",
            }
        },
        "channels": {
            "requests": _by_key(JOB_REQUESTED, f"Consumed from the queue {REQUESTS_QUEUE}."),
            "completed": _by_key(JOB_COMPLETED, "There is an image."),
            "failed": _by_key(JOB_FAILED, "There is none; also of a canceled generation."),
            "deadLetters": {
                "address": DEAD_LETTER_QUEUE,
                "description": "Requests that started nothing, as they came.",
                "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
                "bindings": {
                    "amqp": {
                        "is": "queue",
                        "queue": {"name": DEAD_LETTER_QUEUE, "durable": True},
                        "bindingVersion": AMQP_BINDING,
                    }
                },
            },
        },
        "operations": {
            "startGeneration": _operation("receive", "requests", JOB_REQUESTED),
            "publishCompleted": _operation("send", "completed", JOB_COMPLETED),
            "publishFailed": _operation("send", "failed", JOB_FAILED),
            "buryRequest": _operation("send", "deadLetters", "deadLetter"),
        },
        "components": {
            "messages": {
                JOB_REQUESTED: _message(
                    JOB_REQUESTED, {**_VERSION, **_TRACE}, REQUEST, "the request's id"
                ),
                JOB_COMPLETED: _message(
                    JOB_COMPLETED, _OUTCOME, "JobCompleted", "{requestId}.completed"
                ),
                JOB_FAILED: _message(
                    JOB_FAILED,
                    _OUTCOME,
                    "JobFailed",
                    "{requestId}.failed.{errorCode}, or {requestId}.canceled",
                ),
                "deadLetter": {
                    "summary": "The request's own properties and body, with two headers more.",
                    "headers": {"type": "object", "properties": _DEAD},
                },
            },
            "schemas": _schemas(),
        },
    }


def text() -> str:
    """The file's, the same at every run."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _by_key(event: str, description: str) -> dict[str, Any]:
    exchange = {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False}
    binding = {"is": "routingKey", "exchange": exchange, "bindingVersion": AMQP_BINDING}
    return {
        "address": event,
        "description": description,
        "messages": {event: {"$ref": f"#/components/messages/{event}"}},
        "bindings": {"amqp": binding},
    }


def _operation(action: str, channel: str, message: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
    }


def _message(event: str, headers: dict[str, Any], schema: str, message_id: str) -> dict[str, Any]:
    return {
        "name": event,
        "summary": f"`message_id`: {message_id}. `correlation_id`: the correlationId.",
        "contentType": "application/json",
        "headers": {"type": "object", "properties": headers},
        "payload": _ref(schema),
        "bindings": {"amqp": {"messageType": event, "bindingVersion": AMQP_BINDING}},
    }


def _ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _schemas() -> dict[str, Any]:
    """The models', and the forms of a request: EVT-AIG-001, or its fields in an object."""
    models = (GenerationRequested, JobCompleted, JobFailed)
    _, made = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
        schema_generator=Plain,
    )
    found: dict[str, Any] = made["$defs"]
    event = found["GenerationRequested"]
    fields = {**event, "required": [n for n in event["required"] if n not in _FILLED_IN]}
    forms = [
        {
            "type": "object",
            "properties": {identity: {**_TEXT, "format": "uuid"}, holder: fields},
            "required": [identity, holder],
        }
        for holder, identity in REQUEST_FORMS.items()
    ]
    return found | {REQUEST: {"anyOf": [_ref("GenerationRequested"), *forms]}}


_FILLED_IN = ("requestId", "correlationId", "callbackUrl")
"""What such a form may leave out, see `contracts.broker.requested_event`."""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
