"""Delivery by odoorpc: `apply_event` on a model of Odoo's, with a session that is reused."""

import asyncio
import queue
from collections.abc import Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace

from activities.errors import OdooError
from activities.odoo.deliver import TIMEOUT_SECONDS, OutcomeEvent
from activities.odoo.refusals import refusal_in
from contracts.errors import DeliveryError
from contracts.tasks import DeliverTask
from peers.odoo_rpc import OdooRpcError, OdooSession, RpcAccount

_tracer = trace.get_tracer(__name__)


class RpcDelivery:
    """Calls to one Odoo, each in a thread, each with a session that no other thread uses.

    `threads` are this Odoo's alone: when it hangs, they do.
    """

    def __init__(
        self, account: RpcAccount, threads: Executor, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._account = account
        self._threads = threads
        self._timeout_seconds = timeout_seconds
        self._idle: queue.LifoQueue[OdooSession] = queue.LifoQueue()

    async def deliver(self, task: DeliverTask, event: OutcomeEvent) -> str:
        """Call `apply_event(event)` and return its result as text.

        The time is for all of it, login and answer included; then the thread is let go, too.
        """
        payload, account = event.model_dump(mode="json", exclude_none=True), self._account
        context, session = copy_context(), self._session()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                result = await asyncio.get_running_loop().run_in_executor(
                    self._threads, lambda: context.run(self._apply, session, task, payload)
                )
        except OdooRpcError as error:
            code = DeliveryError.ODOO_REFUSED if error.refused else DeliveryError.ODOO_UNAVAILABLE
            raise OdooError(code, error.detail) from error
        except TimeoutError as error:
            session.abort()
            raise OdooError(
                DeliveryError.ODOO_UNAVAILABLE,
                f"{account.url} ({account.model}.{account.method} as {account.login}) had no"
                f" complete answer within {self._timeout_seconds:g} s",
            ) from error
        except asyncio.CancelledError:  # the worker is leaving
            session.abort()
            raise
        self._idle.put(session)  # only a session that has just worked is used again
        if inside := refusal_in(result):
            code = DeliveryError.ODOO_UNAVAILABLE if inside.passing else DeliveryError.ODOO_REFUSED
            said = f"{account.model}.{account.method} returned {inside.what}: {result!r}"
            raise OdooError(code, said[:300])
        return str(result)[:300]

    def _apply(self, session: OdooSession, task: DeliverTask, payload: Mapping[str, Any]) -> Any:
        account = self._account
        with _tracer.start_as_current_span(
            f"{account.model}.{account.method}", kind=trace.SpanKind.CLIENT
        ) as span:
            span.set_attribute("server.address", urlsplit(account.url).hostname or "")
            span.set_attribute("duragen.event", f"{task.request_id}.{task.outcome.state}")
            return session.call(payload)

    def _session(self) -> OdooSession:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return OdooSession(self._account, self._timeout_seconds)
