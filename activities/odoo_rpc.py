"""Delivery by odoorpc: `apply_event` on a model of Odoo's, with a session that is reused."""

import asyncio
import http.client
import queue
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import odoorpc
from opentelemetry import trace

from activities.errors import OdooError, without
from activities.odoo import OutcomeEvent
from activities.odoo_callback import TIMEOUT_SECONDS
from contracts.errors import DeliveryError
from contracts.generation import DeliverTask
from otel.correlation import outgoing_headers

_tracer = trace.get_tracer(__name__)

# What Odoo raises when it stumbled over itself and a second try may pass.
_PASSING = ("odoo.exceptions.LockError", "odoo.exceptions.ConcurrencyError")


class RpcAccount(NamedTuple):
    """Where and as whom to log in, and what to call."""

    url: str
    database: str
    login: str
    password: str
    model: str
    method: str


class RpcDelivery:
    """Calls to one Odoo, each in a thread, each with a session that no other thread uses."""

    def __init__(self, account: RpcAccount, executor: Executor) -> None:
        self._account = account
        self._executor = executor
        self._idle: queue.LifoQueue[odoorpc.ODOO] = queue.LifoQueue()

    async def deliver(self, task: DeliverTask, event: OutcomeEvent) -> str:
        """Call `apply_event(event)` and return its result as text."""
        payload = event.model_dump(mode="json", exclude_none=True)
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: context.run(self._apply, task, payload)
        )

    def _apply(self, task: DeliverTask, payload: Mapping[str, Any]) -> str:
        account = self._account
        with _tracer.start_as_current_span(
            f"{account.model}.{account.method}", kind=trace.SpanKind.CLIENT
        ) as span:
            span.set_attribute("server.address", urlsplit(account.url).hostname or "")
            span.set_attribute("duragen.event", f"{task.request_id}.{task.outcome.state}")
            try:
                session = self._session()
                result = session.execute(account.model, account.method, payload)
            except Exception as error:
                raise _odoo_error(error, account) from error
            self._idle.put(session)  # only a session that has just worked is used again
            return str(result)[:300]

    def _session(self) -> odoorpc.ODOO:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return _login(self._account)


def open_session(account: RpcAccount) -> odoorpc.ODOO:
    """Log in. Raises OdooError."""
    try:
        return _login(account)
    except Exception as error:
        raise _odoo_error(error, account) from error


def _login(account: RpcAccount) -> odoorpc.ODOO:
    url = urlsplit(account.url)
    secure = url.scheme == "https"
    session = odoorpc.ODOO(
        url.hostname,
        protocol="jsonrpc+ssl" if secure else "jsonrpc",
        port=url.port or (443 if secure else 80),
        timeout=TIMEOUT_SECONDS,
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


def _odoo_error(error: Exception, account: RpcAccount) -> OdooError:
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
    code = DeliveryError.ODOO_REFUSED if refused else DeliveryError.ODOO_UNAVAILABLE
    return OdooError(code, without(account.password, text))
