"""Odoo's desk for API users: `duragen.api`, by JSON-RPC, as the gateway's own user.

One call of Odoo decides everything about a request, in one transaction. The gateway itself starts
nothing: Odoo's hook after the commit does, and its outbox, so a charged job is always started.
"""

import asyncio
import json
import logging
from typing import Any

import httpx

from peers.bodies import BodyError
from peers.http import Answer, call, parsed
from starter.gateway.developers.settings import DeveloperApi
from starter.gateway.problems import FieldError, ProblemError

logger = logging.getLogger(__name__)

CALL_SECONDS = 10.0
"""For one call of Odoo, its turn included: the caller asks again, and nothing is charged twice."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""More than `routes.MOST_AT_ONCE` jobs, each with a prompt of 32,000 characters of six bytes."""

TRIES = 3
"""Odoo runs a transaction that met another one five times; then it is asked again."""

NAMES = {
    "INVALID_API_KEY": (401, "unauthorized"),
    "INSUFFICIENT_CREDITS": (402, "insufficient_credits"),
    "FORBIDDEN": (403, "forbidden"),
    "NOT_FOUND": (404, "not_found"),
    "CONFLICT": (409, "conflict"),
    "INVALID_INPUT": (422, "invalid_request"),
    "LIMIT_REACHED": (429, "limit_reached"),
}
"""Odoo's refusals: the status, and the problem's name."""

_AWAY = "Odoo does not answer: send it again"
_OUR_NAMES = {"after": "cursor"}
"""Fields that Odoo knows under another name than our callers do."""

_CROSSED = ("SerializationFailure", "DeadlockDetected", "LockError", "ConcurrencyError")
"""The ends of the names that Odoo's exceptions have when two transactions met."""


class DeskError(ProblemError):
    """Odoo did not answer in time, or not at all: nobody knows whether it did what was asked."""

    def __init__(self) -> None:
        super().__init__(503, _AWAY)


class Desk:
    """`duragen.api` of one Odoo. Methods raise ProblemError."""

    def __init__(self, settings: DeveloperApi, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._user_id: int | None = None
        # As many as Odoo has room for: what else comes waits here, and not in Odoo's own queue.
        self._turns = asyncio.Semaphore(settings.calls)

    async def ask(self, method: str, *arguments: Any) -> dict[str, Any]:
        """What a method of `duragen.api` answers; a refusal becomes its problem."""
        try:
            async with asyncio.timeout(CALL_SECONDS), self._turns:
                answer = await self._executed(method, arguments)
        except (TimeoutError, httpx.TransportError, BodyError) as error:
            logger.warning("Odoo's developer API (%s) has no answer: %r", method, error)
            raise DeskError from None
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            raise _refusal(answer)
        return answer

    async def _executed(self, method: str, arguments: tuple[Any, ...]) -> Any:
        settings = self._settings
        for left in reversed(range(TRIES)):
            known = self._user_id is not None
            user_id = self._user_id or await self._logged_in()
            password = settings.password.get_secret_value()
            call_of = (settings.database, user_id, password, "duragen.api", method)
            answer = await self._rpc("object", "execute_kw", [*call_of, [*arguments]])
            error = answer.get("error")
            if error is None:
                return answer.get("result")
            name = _name_of(error)
            if name.endswith("AccessDenied") and known:
                self._user_id = None  # another password, or another database at the same address
            elif not (left and name.endswith(_CROSSED)):
                raise _broken(method, name)
        raise DeskError

    async def _logged_in(self) -> int:
        settings = self._settings
        given = [settings.database, settings.login, settings.password.get_secret_value(), {}]
        answer = await self._rpc("common", "authenticate", given)
        found = answer.get("result")
        if not isinstance(found, int) or isinstance(found, bool):
            raise _broken("authenticate", _name_of(answer.get("error")) or "wrong login")
        self._user_id = found
        return found

    async def _rpc(self, service: str, method: str, arguments: list[Any]) -> dict[str, Any]:
        params = {"service": service, "method": method, "args": arguments}
        envelope = {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
        answer = await call(
            self._client,
            "POST",
            f"{self._settings.url}/jsonrpc",
            timeout_seconds=CALL_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
            headers={"Content-Type": "application/json"},
            content=json.dumps(envelope).encode(),
        )
        return _object_in(answer)


def _object_in(answer: Answer) -> dict[str, Any]:
    found = parsed(answer) if answer.status == 200 else None
    if not isinstance(found, dict):
        logger.warning("Odoo answers %d without JSON-RPC", answer.status)
        raise DeskError
    return found


def _name_of(error: Any) -> str:
    data = error.get("data") if isinstance(error, dict) else None
    return str(data.get("name", "")) if isinstance(data, dict) else ""


def _broken(method: str, name: str) -> ProblemError:
    """Odoo raised: our settings are wrong, or its addon is. The caller can only try again."""
    logger.error("Odoo's developer API (%s) is not set up: %s", method, name or "no such error")
    return ProblemError(503, "the API is not set up; the gateway's log says why")


def _refusal(answer: Any) -> ProblemError:
    code = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(code, str) or code not in NAMES:
        logger.error("Odoo's developer API refuses in a way that is not known: %.200r", answer)
        return DeskError()
    status, name = NAMES[code]
    message = str(answer.get("message") or name)
    errors = _field_errors(message) if status == 422 else []
    if errors:
        message = "; ".join(f"{each.field}: {each.message}" for each in errors)
    headers = {}
    wait = answer.get("retryAfter")
    if isinstance(wait, int):
        headers = {
            "Retry-After": str(wait),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(wait),
        }
        headers |= {"RateLimit-Limit": str(answer.get("limit") or 0)}
    if status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    return ProblemError(status, message, errors=errors, headers=headers, name=name)


def _field_errors(message: str) -> list[FieldError]:
    """One for each line; where it begins with the name of a field, that is the field."""
    found = []
    for line in message.splitlines():
        field, colon, text = line.partition(": ")
        named = bool(colon) and field.isidentifier()
        field = _OUR_NAMES.get(field, field) if named else "request"
        found.append(FieldError(field=field, rule="odoo", message=text if named else line))
    return found
