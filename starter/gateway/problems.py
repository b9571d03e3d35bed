"""Every error the gateway answers, as an RFC 9457 problem document.

    400  malformed_json         405  method_not_allowed     422  invalid_request
    401  unauthorized           408  body_too_slow          429  rate_limited
    402  insufficient_credits   409  conflict               429  too_many_in_flight
    403  forbidden              413  too_large              429  daily_limit
    404  not_found              415  wrong_content_type     429  limit_reached
    404  no_image               422  invalid_event          500  internal
    404  no_such_path                                       503  unavailable

Texts say what is wrong and never repeat what was sent: a prompt is private.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic import ValidationError as ModelError
from starlette.exceptions import HTTPException

from starter import client
from starter.faults import field_faults
from starter.gateway.openapi import header, schema_of

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# spec: event-driven-architecture, Retry Policies (initial 1 s)
RETRY_AFTER_SECONDS = 1

NAMES = {
    400: "malformed_json",
    401: "unauthorized",
    402: "insufficient_credits",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    409: "conflict",
    413: "too_large",
    415: "wrong_content_type",
    422: "invalid_event",
    429: "rate_limited",
    503: "unavailable",
}


class FieldError(BaseModel):
    """One fault of the event: the field, the rule it breaks, and the rule in words."""

    field: str
    rule: str
    message: str


_FIELD_EXAMPLE: dict[str, Any] = {
    "field": "seed",
    "rule": "greater_than_equal",
    "message": "Input should be greater than or equal to 0",
}
_DETAILS = {
    400: "the body is not valid JSON",
    401: "send Authorization: Bearer KEY",
    402: "a request costs 1, and 0 is left",
    403: "your user may not ask for images",
    404: "there is none of yours with this id",
    408: "the body did not come in time",
    409: "it was used for something else",
    413: "the body is over 256 KB",
    415: "send Content-Type: application/json, in UTF-8",
    422: "seed: Input should be greater than or equal to 0",
    429: "too many requests",
    503: "not now; send it again",
}
"""Examples of texts, for OpenAPI."""

_HEADERS = {
    401: {"WWW-Authenticate": header("Bearer.")},
    429: {
        "Retry-After": header("Seconds to wait.", "integer"),
        "RateLimit-Limit": header("Of the limit that is used up.", "integer"),
        "RateLimit-Remaining": header("What is left of it.", "integer"),
        "RateLimit-Reset": header("Seconds until there is more.", "integer"),
    },
    503: {"Retry-After": header("Seconds to wait.", "integer")},
}


class Problem(BaseModel):
    """RFC 9457. `type` is stable and made for machines; `errors` names every faulty field."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:duragen:problem:invalid_event",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": _DETAILS[422],
                "errors": [_FIELD_EXAMPLE],
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default_factory=list)


class ProblemError(Exception):
    """Raised anywhere in a request; becomes the problem document of `status`."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name or NAMES.get(status, "internal")
        self.detail = detail
        self.errors = errors or []
        self.headers = headers


def invalid(errors: list[FieldError]) -> ProblemError:
    """422 with every faulty field."""
    return ProblemError(422, "; ".join(f"{e.field}: {e.message}" for e in errors), errors=errors)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems an operation may answer, for OpenAPI."""
    return {
        status: {
            "description": NAMES[status].replace("_", " "),
            "headers": _HEADERS.get(status, {}),
            "content": {MEDIA_TYPE: {"schema": schema_of(Problem), "example": _example(status)}},
        }
        for status in statuses
    }


def _example(status: int) -> dict[str, Any]:
    """What such an answer looks like."""
    name, detail = NAMES[status], _DETAILS.get(status, "")
    errors = [_FIELD_EXAMPLE] if status == 422 else []
    return {
        "type": f"urn:duragen:problem:{name}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": errors,
    }


def field_errors(error: ModelError | RequestValidationError) -> list[FieldError]:
    """Pydantic's faults without the values that were sent."""
    return [FieldError(**fault) for fault in field_faults(error)]


def response(problem: ProblemError) -> JSONResponse:
    """The document, with its media type and headers."""
    body: dict[str, Any] = {
        "type": f"urn:duragen:problem:{problem.name}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "errors": [error.model_dump() for error in problem.errors],
    }
    headers = dict(problem.headers or {})
    if problem.status == 503:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return JSONResponse(body, problem.status, headers, MEDIA_TYPE)


def of_client(error: client.DuragenError) -> ProblemError:
    """The problem that stands for an error of the client."""
    match error:
        case client.ValidationError():
            errors = [FieldError(**fault) for fault in error.errors]
            return (
                ProblemError(413, "the event is over 256 KB", errors=errors)
                if isinstance(error, client.TooLargeError)
                else invalid(errors)
            )
        case client.ConflictError():
            return ProblemError(409, str(error))
        case client.NotFoundError():
            return ProblemError(404, str(error))
        case client.UnavailableError():
            return ProblemError(503, f"{error}; send it again, no request is started twice")
    # Our own settings are at fault, and the log must say so; the caller can only try again.
    logger.error("Temporal refuses the gateway: %s", error)
    return ProblemError(503, "the orchestrator is not set up; the gateway's log says why")


def _answer(request: Request, problem: ProblemError) -> JSONResponse:
    request.state.problem = problem.name  # for the log
    return response(problem)


def install(app: FastAPI) -> None:
    """Answer everything that goes wrong with a problem document, unexpected errors too."""

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> JSONResponse:
        return _answer(request, error)

    @app.exception_handler(client.DuragenError)
    async def _client(request: Request, error: client.DuragenError) -> JSONResponse:
        return _answer(request, of_client(error))

    @app.exception_handler(RequestValidationError)
    async def _path(request: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(request, invalid(field_errors(error)))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        text = {404: "there is no such path", 405: "this path does not take this method"}
        detail = text.get(error.status_code, str(error.detail))
        # Not `not_found`: a client with a wrong address must not believe its generations lost.
        name = "no_such_path" if error.status_code == 404 else None
        headers = error.headers
        return response(ProblemError(error.status_code, detail, headers=headers, name=name))

    @app.exception_handler(Exception)
    async def _unforeseen(_: Request, __: Exception) -> JSONResponse:
        # Starlette raises it again after this answer, so the server logs it with its traceback.
        return response(ProblemError(500, "something went wrong on our side"))
