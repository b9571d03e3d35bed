"""Odoo's JSON-RPC by odoorpc: a session, and what went wrong in plain words. All of it blocks."""

import http.client
import urllib.error
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import odoorpc

from otel.correlation import outgoing_headers
from peers.redaction import redact

_PASSING = ("odoo.exceptions.LockError", "odoo.exceptions.ConcurrencyError")
"""What Odoo raises when it stumbled over itself and a second try may pass."""


class RpcAccount(NamedTuple):
    """Where and as whom to log in, and what to call."""

    url: str
    database: str
    login: str
    password: str
    model: str
    method: str


class OdooRpcError(Exception):
    """A call failed. `refused`: Odoo would answer the same again. The password is in no text."""

    def __init__(self, detail: str, *, refused: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.refused = refused


class OdooSession:
    """A session of one account, for one thread at a time."""

    def __init__(self, account: RpcAccount, timeout_seconds: float) -> None:
        """Log in. `timeout_seconds` is for each read of a socket. Raises OdooRpcError."""
        self._account = account
        try:
            self._session = _login(account, timeout_seconds)
        except Exception as error:
            raise _translated(error, account) from error

    def call(self, *arguments: Any) -> Any:
        """Call the account's method with `arguments`. Raises OdooRpcError."""
        try:
            return self._session.execute(self._account.model, self._account.method, *arguments)
        except Exception as error:
            raise _translated(error, self._account) from error


def _login(account: RpcAccount, timeout_seconds: float) -> odoorpc.ODOO:
    url = urlsplit(account.url)
    secure = url.scheme == "https"
    session = odoorpc.ODOO(
        url.hostname,
        protocol="jsonrpc+ssl" if secure else "jsonrpc",
        port=url.port or (443 if secure else 80),
        timeout=timeout_seconds,
        opener=urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(), _CorrelationHandler()
        ),
    )
    session.login(account.database, account.login, account.password)
    return session


class _CorrelationHandler(urllib.request.BaseHandler):
    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        for name, value in outgoing_headers().items():
            request.add_unredirected_header(name, value)
        return request

    https_request = http_request


def _translated(error: Exception, account: RpcAccount) -> OdooRpcError:
    where = f"{account.url} ({account.model}.{account.method} as {account.login})"
    if isinstance(error, odoorpc.error.RPCError):
        info = error.info if isinstance(error.info, dict) else {}
        name = str((info.get("data") or {}).get("name", ""))
        # Without info it is odoorpc's own word: the login is wrong.
        refused = not info or (name.startswith("odoo.exceptions.") and name not in _PASSING)
        text = f"{where} raised {name or 'an error'}: {error}"
    elif isinstance(error, urllib.error.HTTPError):
        refused = error.code < 500 and error.code not in {408, 425, 429}
        text = f"{where} answered {error.code}"
    elif isinstance(error, OSError | http.client.HTTPException):
        refused, text = False, f"{where} did not answer: {error or type(error).__name__}"
    elif isinstance(error, KeyError):  # odoorpc asks for the version without a look at `error`
        refused, text = False, f"{where} answered with an error before the login"
    else:  # a page where JSON should be
        refused, text = True, f"{where}: {type(error).__name__}: {error}"
    return OdooRpcError(redact(account.password, text), refused=refused)
