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
from contracts.generation import DeliverTask
from peers.odoo_rpc import OdooRpcError, OdooSession, RpcAccount

_tracer = trace.get_tracer(__name__)


class RpcDelivery:
    """Calls to one Odoo, each in a thread, each with a session that no other thread uses."""

    def __init__(
        self, account: RpcAccount, executor: Executor, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._account = account
        self._executor = executor
        self._timeout_seconds = timeout_seconds
        self._idle: queue.LifoQueue[OdooSession] = queue.LifoQueue()

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
                result = session.call(payload)
            except OdooRpcError as error:
                code = (
                    DeliveryError.ODOO_REFUSED if error.refused else DeliveryError.ODOO_UNAVAILABLE
                )
                raise OdooError(code, error.detail) from error
            self._idle.put(session)  # only a session that has just worked is used again
            if inside := refusal_in(result):
                code = (
                    DeliveryError.ODOO_UNAVAILABLE if inside.passing else DeliveryError.ODOO_REFUSED
                )
                said = f"{account.model}.{account.method} returned {inside.what}: {result!r}"
                raise OdooError(code, said[:300])
            return str(result)[:300]

    def _session(self) -> OdooSession:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return OdooSession(self._account, self._timeout_seconds)
