"""The callback's second form of a failure, and its refusals; as the addon has them."""

import json

from pydantic import ValidationError
from starlette.responses import JSONResponse

from deploy.local.sandbox.odoo.ledger import Ledger


def event_of_failure(body: bytes, ledger: Ledger) -> bytes:
    """EVT-AIG-003 of a failure by the names of error-handling.sequence, 8.1 and 9.1.

    The correlationId is the request's. Raises LookupError when there is no such request; a body
    that is no JSON stays as it is.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return body
    given = given if isinstance(given, dict) else {}
    request = ledger.request(str(given.get("generationRequestId")).lower())
    if request is None:
        raise LookupError
    said = (given.get(name) for name in ("errorMessage", "errorDetails", "errorType"))
    ids = {"requestId": request["request_id"], "correlationId": request["correlation_id"]}
    message = next((text for text in said if text), "")
    return json.dumps({**given, **ids, "status": "failed", "errorMessage": message}).encode()


def refusal(status: int, detail: str) -> JSONResponse:
    """Why a callback is refused."""
    return JSONResponse({"error": {"status": status, "detail": detail}}, status)


def faults_of(error: ValidationError) -> str:
    """A line for each fault, with its field."""
    return "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
