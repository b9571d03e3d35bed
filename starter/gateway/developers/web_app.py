"""The OpenAPI 3.1 document of the web app's route in Odoo, made from the developer API's models.

    python -m starter.gateway.developers.web_app docs/openapi/odoo-web-app.json

The addon serves it, not the gateway: a page calls it with the cookie of a user who is logged in.
nginx stands before it, and refuses by itself with the problem documents of the developer API.
spec: error-handling.sequence, steps 1 and 2.
"""

import json
import sys
from pathlib import Path
from typing import Any

from contracts.events import SUPPORTED_MAJOR_VERSION
from starter.gateway.developers.models import (
    EXAMPLE_ID,
    EXAMPLE_JOB,
    Estimate,
    Job,
    Parameters,
)
from starter.gateway.openapi import header, schema_of
from starter.gateway.problems import Problem

PATH = "/api/v1/generations"

_REFUSALS = {
    "400": "The body is no JSON; by nginx: no HTTP request that could be passed on",
    "401": "Nobody is logged in",
    "402": "The credits do not suffice",
    "403": "This user may not ask for images",
    "404": "This user has no such request; by nginx: no such path",
    "409": "The key belongs to a request with other parameters",
    "415": "The body is not said to be JSON",
    "422": "A parameter breaks a rule; `detail` says which, in the user's language",
    "429": "The user's rate or quota is reached; by nginx: too many from this address",
}
_ASKING = ("401", "402", "403", "409", "415", "422")
_LOOKING = ("401", "403")


def document() -> dict[str, Any]:
    """The whole of it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Odoo's route for web apps",
            "version": SUPPORTED_MAJOR_VERSION,
            "description": "The developer API for whoever is logged in to Odoo: the same"
            " parameters, prices and limits, and the session's cookie in place of a key.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"session": []}],
        "paths": {
            PATH: {"post": _submit()},
            f"{PATH}/{{requestId}}": {"get": _status()},
        },
        "components": {
            "schemas": {"Parameters": schema_of(Parameters), "Request": _request()}
            | {"Accepted": _accepted(), "Refusal": _REFUSAL, "Problem": schema_of(Problem)},
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "session_id"},
            },
        },
    }


def _submit() -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same within 24 hours is the same request, charged once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    }
    return {
        "operationId": "submit",
        "summary": "Ask for an image",
        "parameters": [key],
        "requestBody": {"required": True, "content": _json("Parameters")},
        "responses": {
            "202": _answer("Charged, and it will be made", "Accepted"),
            **{status: _answer(_REFUSALS[status], "Refusal") for status in _ASKING},
            **{status: _refusal(status) for status in ("400", "429")},
            "413": {
                "description": "More than 256 KiB; by Odoo a page",
                "content": {**_PROBLEM, "text/html": {"schema": {"type": "string"}}},
            },
            **_AWAY,
        },
    }


def _status() -> dict[str, Any]:
    request_id = {
        "name": "requestId",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "example": EXAMPLE_ID,
    }
    return {
        "operationId": "status",
        "summary": "Where a request stands",
        "parameters": [request_id],
        "responses": {
            "200": _answer("The request", "Request"),
            **{status: _answer(_REFUSALS[status], "Refusal") for status in _LOOKING},
            **{status: _refusal(status) for status in ("400", "404", "429")},
            **_AWAY,
        },
    }


def _request() -> dict[str, Any]:
    """A job, by the web app's name for its id."""
    schema = schema_of(Job)
    properties, required = schema["properties"], schema["required"]
    named = {"requestId": properties.pop("jobId"), **properties}
    del named["statusUrl"]
    return {
        "type": "object",
        "description": "Where a request stands.",
        "properties": named,
        "required": ["requestId", *(each for each in required if each in named)],
        "example": _without_url(EXAMPLE_JOB),
    }


def _accepted() -> dict[str, Any]:
    request, estimate = _request(), schema_of(Estimate)
    more = {name: estimate["properties"][name] for name in ("balance", "limits")}
    more["replayed"] = {"type": "boolean", "description": "It was there already."}
    now = {"status": "pending", "charged": True, "imageUrl": None, "endedAt": None}
    limits = estimate["example"]["limits"]
    return {
        **request,
        "description": "The request, and what the user has left.",
        "properties": {**request["properties"], **more},
        "required": [*request["required"], *more],
        "example": {**request["example"], **now, "balance": 19, "limits": limits}
        | {"replayed": False},
    }


_REFUSAL = {
    "type": "object",
    "description": "`code` says why, where it is more than the status; `detail` is for people.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["status", "detail"],
            "properties": {
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "code": {"type": "string"},
            },
        }
    },
    "example": {
        "error": {"status": 422, "detail": "modelId: must be a UUID", "code": "INVALID_INPUT"}
    },
}


def _without_url(job: dict[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in job.items() if name != "statusUrl"}
    return {"requestId": values.pop("jobId"), **values}


_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RETRY_AFTER = {"Retry-After": header("Seconds to wait.", "integer")}
_AWAY = {
    "503": {
        "description": "By nginx: Odoo does not answer. With the same key it is the same request.",
        "content": _PROBLEM,
        "headers": _RETRY_AFTER,
    }
}


def _refusal(status: str) -> dict[str, Any]:
    """By Odoo, or by nginx."""
    answer = _answer(_REFUSALS[status], "Refusal")
    answer["content"] = {**answer["content"], **_PROBLEM}
    return {**answer, "headers": _RETRY_AFTER} if status == "429" else answer


def _answer(text: str, model: str) -> dict[str, Any]:
    return {"description": text, "content": _json(model)}


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}


def text() -> str:
    """The file's text, the same at every run."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text(), encoding="utf-8")
