"""Odoo's JSON-RPC by odoorpc: a session, and what went wrong in plain words. All of it blocks."""

import http.client
import io
import socket
import ssl
import threading
import urllib.error
import urllib.request
import urllib.response
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import odoorpc

from otel.correlation import outgoing_headers
from peers.bodies import BoundedBody
from peers.json_bounds import MAX_LISTED_ELEMENTS, check_json
from peers.redaction import redact

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A login's answer lists companies and currencies; an outcome's is a few words."""

_CHUNK_BYTES = 64 * 1024

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
    ca_file: Path | None = None
    """Who signed its certificate; None: somebody whom the process trusts."""
    use_proxies: bool = False
    """Those of the environment (`peers.proxies`)."""


class OdooRpcError(Exception):
    """A call failed. `refused`: Odoo would answer the same again. The password is in no text."""

    def __init__(self, detail: str, *, refused: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.refused = refused


class OdooSession:
    """A session of one account, for one thread at a time; any other may abort it.

    `timeout_seconds` is for each read of a socket: a peer that drips a byte at a time is not cut
    off by it, so whoever waits for a call aborts the session when its time is over.
    """

    def __init__(self, account: RpcAccount, timeout_seconds: float) -> None:
        self._account = account
        self._timeout_seconds = timeout_seconds
        self._session: odoorpc.ODOO | None = None
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def login(self) -> None:
        """Log in. Raises OdooRpcError."""
        try:
            self._session = _login(self._account, self._timeout_seconds, self._connected)
        except Exception as error:
            raise _translated(error, self._account) from error

    def call(self, *arguments: Any) -> Any:
        """Call the account's method; logs in before the first call. Raises OdooRpcError."""
        if self._session is None:
            self.login()
        try:
            return self._session.execute(  # type: ignore[union-attr]  # logged in above
                self._account.model, self._account.method, *arguments
            )
        except Exception as error:
            raise _translated(error, self._account) from error

    def abort(self) -> None:
        """End what it does just now, and what it would do next: the thread in it gets an error."""
        with self._lock:
            self._aborted = True
            if self._socket:
                with suppress(OSError):  # the other side has closed it
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _connected(self, opened: socket.socket) -> None:
        with self._lock:
            self._socket = opened
            if self._aborted:
                raise ConnectionAbortedError("its time is over")


def _login(
    account: RpcAccount, timeout_seconds: float, connected: Callable[[socket.socket], None]
) -> odoorpc.ODOO:
    url = urlsplit(account.url)
    secure = url.scheme == "https"
    session = odoorpc.ODOO(
        url.hostname,
        protocol="jsonrpc+ssl" if secure else "jsonrpc",
        port=url.port or (443 if secure else 80),
        timeout=timeout_seconds,
        opener=urllib.request.build_opener(
            urllib.request.ProxyHandler(None if account.use_proxies else {}),
            urllib.request.HTTPCookieProcessor(),  # of this account alone: its session
            _Stay(),
            _Bounded(),
            _CorrelationHandler(),
            # Reading all authorities takes some 40 ms.
            _TlsHandler(connected, ssl.create_default_context(cafile=account.ca_file))
            if secure
            else _PlainHandler(connected),
        ),
    )
    session.login(account.database, account.login, account.password)
    return session


class _PlainHandler(urllib.request.HTTPHandler):
    """Hands each socket that it opens to `connected`."""

    def __init__(self, connected: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connected = connected

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._connection, request)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        return _watched(http.client.HTTPConnection(host, **options), self._connected)


class _TlsHandler(urllib.request.HTTPSHandler):
    """The same for TLS."""

    def __init__(self, connected: Callable[[socket.socket], None], verify: ssl.SSLContext) -> None:
        super().__init__()
        self._connected = connected
        self._verify = verify

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._connection, request)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        return _watched(
            http.client.HTTPSConnection(host, context=self._verify, **options), self._connected
        )


def _watched(
    connection: http.client.HTTPConnection, connected: Callable[[socket.socket], None]
) -> http.client.HTTPConnection:
    connect = connection.connect

    def connect_and_report() -> None:
        connect()
        # Kept by the caller: urllib lets go of the socket before the answer's body is read.
        connected(connection.sock)

    connection.connect = connect_and_report  # type: ignore[method-assign]
    return connection


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it becomes an HTTPError."""

    def redirect_request(self, *_: Any) -> None:
        """There is no request to another place."""


class _Bounded(urllib.request.BaseHandler):
    """Reads the whole answer, within bounds, before odoorpc builds anything of it.

    Raises BodyError, JsonBoundsError and http.client.IncompleteRead.
    """

    handler_order = 100  # before the handlers of cookies and errors

    def http_response(
        self, _: urllib.request.Request, response: http.client.HTTPResponse
    ) -> urllib.response.addinfourl:
        headers = httpx.Headers(response.headers.items())
        refused = response.status >= 300
        body = BoundedBody(headers, MAX_ANSWER_BYTES, cut=refused)
        while not body.complete and (chunk := response.read(_CHUNK_BYTES)):
            for _piece in body.feed(chunk):
                pass
        if not refused and response.length:  # cut off
            raise http.client.IncompleteRead(b"", response.length)
        whole = body.whole()
        if not refused:
            check_json(whole, MAX_LISTED_ELEMENTS)
        read = urllib.response.addinfourl(
            io.BytesIO(whole), response.headers, response.url, response.status
        )
        read.msg = response.reason  # type: ignore[attr-defined]  # urllib's own code sets it so
        return read

    https_response = http_response


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
