"""The OpenAPI 3.1 document of Odoo's callback, made from the models: what Duragen calls there.

    python -m contracts.callback_openapi docs/openapi/odoo-callback.json

For whoever writes an Odoo module, or another application, that takes outcomes.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contracts.callbacks import CALLBACK_PATHS
from contracts.connection import TestEvent
from contracts.events import (
    SUPPORTED_MAJOR_VERSION,
    GenerationCompleted,
    GenerationFailed,
)
from contracts.schemas import Plain

FAILURE_PATH = "/ai/generation/failure"
"""spec: error-handling.sequence, 8.1, 9.1"""

SIGNATURE_HEADERS = {
    "webhook-id": "The same at each repeat of an event.",
    "webhook-timestamp": "Seconds since 1970; more than five minutes off is refused.",
    "webhook-signature": "v1, a comma, and the base64 of the HMAC-SHA256 of `id.timestamp.body`;"
    " several, with blanks between, while secrets change.",
}
_REFUSALS = {
    "401": "Token or signature is not believed",
    "404": "There is no such request: the outcome is parked at Duragen",
    "422": "The event breaks a rule: it is parked at Duragen",
    "429": "Too many that were not believed came from here",
    "503": "Not now: Duragen sends it again",
}
_IDS = {
    "requestId": "7d3f2a44-0d0c-4f7e-8d59-2a7f6a1c9e11",
    "correlationId": "1b9c8a52-5f0e-4a54-a3c8-9a2f0f0e7b22",
}
_COMPLETED = {
    **_IDS,
    "status": "completed",
    "imageMetadata": {"format": "png", "size": 1_482_731, "width": 1024, "height": 1024},
    "hashValue": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "imageUrl": f"https://images.example.com/generations/{_IDS['requestId']}.png",
}
_FAILED = {
    **_IDS,
    "status": "failed",
    "errorMessage": "the image service refuses the prompt",
    "errorCode": "CONTENT_REJECTED",
    "userMessage": "The image service does not make this.",
    "retrySuggestion": False,
}
FAILURE_EXAMPLE = {
    "generationRequestId": _IDS["requestId"],
    "errorType": "ContentRejected",
    "isUserError": True,
    "userMessage": "The image service does not make this.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def document() -> dict[str, Any]:
    """The whole of it."""
    models: list[type[BaseModel]] = [GenerationCompleted, GenerationFailed, TestEvent]
    _, schemas = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
        schema_generator=Plain,
    )
    outcome = {"oneOf": [_ref(model.__name__) for model in models]}
    own = {"Failure": _FAILURE, "Taken": _TAKEN, "Refusal": _REFUSAL}
    definitions = {**schemas["$defs"], **own}
    bodies = {"completed": _COMPLETED, "failed": _FAILED, "test": {**_IDS, "status": "test"}}
    events = {name: {"value": body} for name, body in bodies.items()}
    failures = {"failed": {"value": FAILURE_EXAMPLE}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Odoo's callback",
            "version": SUPPORTED_MAJOR_VERSION,
            "description": "How a generation ended. Each event may come several times, and in"
            " another order than it happened: `completed` may follow `failed`, never the reverse."
            " Fields may be added; `payloadVersion` says the version, 1 when it is absent. A new"
            " major version gets routes of its own (`/v2/…`) beside these, which are called until"
            " no Odoo of the settings names them any more.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}, {"signature": []}, {"token": [], "signature": []}],
        "paths": {
            **{path: {"post": _operation(path, outcome, events)} for path in CALLBACK_PATHS},
            FAILURE_PATH: {"post": _operation(FAILURE_PATH, _ref("Failure"), failures)},
        },
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "Standard Webhooks: standardwebhooks.com",
                },
            },
        },
    }


_FAILURE = {
    "type": "object",
    "description": "EVT-AIG-003 by the names of error-handling.sequence, 8.1 and 9.1.",
    "required": ["generationRequestId", "errorType"],
    "properties": {
        "generationRequestId": {"type": "string", "format": "uuid"},
        "errorType": {"type": "string"},
        "isSystemError": {"type": "boolean"},
        "isUserError": {"type": "boolean"},
        "errorCode": {"type": ["string", "null"]},
        "errorMessage": {"type": ["string", "null"]},
        "userMessage": {"type": ["string", "null"]},
        "retrySuggestion": {"type": ["boolean", "null"]},
        "mayHaveBeenPaid": {"type": ["boolean", "null"]},
    },
}


_TAKEN = {
    "type": "object",
    "description": "`repeated`: it was taken before, or came too late, and changes nothing."
    " `tested`: a connection test, which Odoo itself has asked for.",
    "required": ["status", "requestId"],
    "properties": {
        "status": {"enum": ["applied", "repeated", "tested"]},
        "requestId": {"type": "string", "format": "uuid"},
    },
    "example": {"status": "applied", "requestId": _IDS["requestId"]},
}
_REFUSAL = {
    "type": "object",
    "description": "For people who read logs: Duragen decides by the status.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["status", "detail"],
            "properties": {"status": {"type": "integer"}, "detail": {"type": "string"}},
        }
    },
    "example": {"error": {"status": 422, "detail": "hashValue: is required"}},
}


def _operation(path: str, schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    name = path.strip("/").replace("/", "_").replace("-", "_")
    return {
        "operationId": name,
        "summary": "A generation has ended",
        "parameters": [
            {
                "name": header,
                "in": "header",
                "description": text,
                "schema": {"type": "string"},
            }
            for header, text in SIGNATURE_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": examples}},
        },
        "responses": {
            "200": _answer("Taken, or taken before", "Taken"),
            **{status: _answer(text, "Refusal") for status, text in _REFUSALS.items()},
            "413": {"description": "Larger than any image"},
        },
    }


def _answer(text: str, model: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(model)}}
    headers = _RETRY_AFTER if text in {_REFUSALS["429"], _REFUSALS["503"]} else {}
    return {"description": text, "content": content, **({"headers": headers} if headers else {})}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def text() -> str:
    """The file's text, the same at every run."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text(), encoding="utf-8")
