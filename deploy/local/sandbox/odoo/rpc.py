"""Odoo's JSON-RPC, as much of it as `odoorpc` needs to log in and to call one method."""

import traceback
from collections.abc import Callable
from typing import Any

SERVER_VERSION = "18.0"
MODEL, METHOD = "duragen.generation.request", "apply_event"
API_MODEL = "duragen.api"
_UID = 2

_FIELDS = {
    "id": {"type": "integer", "string": "ID", "readonly": True, "required": False},
    "request_id": {"type": "char", "string": "Request", "readonly": True, "required": True},
    "state": {"type": "char", "string": "State", "readonly": True, "required": True},
}


class OdooError(Exception):
    """An exception of the server, by the name that Odoo gives it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class JsonRpc:
    """One database with one user; `apply_event` is the method that takes an event's payload.

    `api` answers the methods of `duragen.api`, and raises LookupError for those that are not there.
    """

    def __init__(
        self,
        database: str,
        login: str,
        password: str,
        apply_event: Callable[[dict[str, Any]], object],
        api: Callable[[str, list[Any]], object],
    ) -> None:
        self._credentials = (database, login, password)
        self._apply_event = apply_event
        self._api = api

    def answer(self, path: str, envelope: Any) -> dict[str, Any]:
        """The JSON-RPC answer, errors in Odoo's own form (with status 200, as Odoo does)."""
        number = envelope.get("id") if isinstance(envelope, dict) else None
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": number}
        try:
            params = envelope.get("params") if isinstance(envelope, dict) else None
            return answer | {"result": self._call(path, params)}
        except OdooError as error:
            return answer | {"error": error_object(error.name, str(error))}

    def _call(self, path: str, params: object) -> object:
        if not isinstance(params, dict):
            raise OdooError("builtins.TypeError", "Invalid JSON-RPC envelope")
        match path:
            case "/web/webclient/version_info":
                return _version()
            case "/web/session/authenticate":
                return self._authenticate(params)
            case _:
                service, method = params.get("service"), params.get("method")
                arguments = params.get("args")
                if not isinstance(arguments, list):
                    raise OdooError("builtins.TypeError", "args must be a list")
                return self._dispatch(f"{service}.{method}", arguments)

    def _authenticate(self, params: dict[str, Any]) -> object:
        given = (params.get("db"), params.get("login"), params.get("password"))
        if given != self._credentials:
            raise OdooError("odoo.exceptions.AccessDenied", "Access Denied")
        return {"uid": _UID, "db": given[0], "username": given[1], "user_context": _context()}

    def _dispatch(self, name: str, arguments: list[Any]) -> object:
        match name, arguments:
            case "common.version", _:
                return _version()
            case (("common.login" | "common.authenticate"), [database, login, password, *_]):
                # Odoo answers False to a wrong password here, and no error.
                return (database, login, password) == self._credentials and _UID
            case "object.execute", [database, uid, password, model, method, *given]:
                self._check(database, uid, password)
                return self._execute(model, method, given)
            case "object.execute_kw", [database, uid, password, model, method, *given]:
                self._check(database, uid, password)
                positional = given[0] if given else []
                named = given[1] if len(given) > 1 else {}
                more = [value for key, value in named.items() if key != "context"]
                return self._execute(model, method, [*positional, *more])
            case _:
                raise OdooError("builtins.AttributeError", f"Method not found: {name}")

    def _check(self, database: object, uid: object, password: object) -> None:
        expected, _, secret = self._credentials
        if (database, uid, password) != (expected, _UID, secret):
            raise OdooError("odoo.exceptions.AccessDenied", "Access Denied")

    def _execute(self, model: object, method: object, given: list[Any]) -> object:
        match model, method, given:
            case "res.users", "context_get", _:
                return _context()
            case str(), "fields_get", _ if model == MODEL:
                return _FIELDS
            case "ir.model", "search", [[["model", "=", wanted], *_], *_]:
                return [1] if wanted == MODEL else []
            case str(), str(), [dict() as payload] if (model, method) == (MODEL, METHOD):
                return self._apply_event(payload)
            case str(), str(), _ if model == API_MODEL:
                try:
                    return self._api(method, given)
                except LookupError:
                    text = f"The method '{model}.{method}' does not exist"
                    raise OdooError("builtins.AttributeError", text) from None
            case str(), _, _ if model != MODEL:
                raise OdooError("builtins.KeyError", f"'{model}'")
            case _:
                text = f"The method '{model}.{method}' does not exist"
                raise OdooError("builtins.AttributeError", text)


def error_object(name: str, message: str) -> dict[str, Any]:
    """Odoo's `error` member."""
    return {
        "code": 200,
        "message": "Odoo Server Error",
        "data": {
            "name": name,
            "debug": "".join(traceback.format_exc()),
            "message": message,
            "arguments": [message],
            "context": {},
        },
    }


def _context() -> dict[str, Any]:
    return {"lang": "en_US", "tz": "UTC", "uid": _UID}


def _version() -> dict[str, Any]:
    return {
        "server_version": SERVER_VERSION,
        "server_version_info": [18, 0, 0, "final", 0, ""],
        "server_serie": SERVER_VERSION,
        "protocol_version": 1,
    }
