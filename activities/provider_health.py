"""Reporting calls to each provider's health workflow, in batches, and reading its circuit."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client, WorkflowQueryRejectedError
from temporalio.common import Priority, QueryRejectCondition, WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from contracts.errors import ErrorCode, ErrorKind
from contracts.generation import Failure, Route
from contracts.names import (
    FIRST_PRIORITY,
    GENERATION_QUEUE,
    HEALTH_QUERY,
    PROVIDER_HEALTH_WORKFLOW,
    REPORT_SIGNAL,
    provider_health_id,
)
from contracts.provider_health import (
    AGAINST_PROVIDER,
    Circuit,
    ProviderHealthState,
    ProviderHealthView,
    ProviderReport,
)

logger = logging.getLogger(__name__)

_NOT_THE_PROVIDERS = frozenset(
    {
        ErrorCode.INTERNAL,
        ErrorCode.STORE_UNAVAILABLE,
        ErrorCode.CONFLICT,
        ErrorCode.CANCELED,
    }
)

REPORT_SECONDS = 2.0
"""A process reports at most one batch a provider in this time, however many calls it makes."""

PATIENCE_SECONDS = 5.0
"""For one call to Temporal, at the end of a process too."""

LOOK_SECONDS = 5.0
"""How old the planner's knowledge of a circuit may be. A half-open circuit lets one plan through in
this time."""


class _Batch:
    """Calls to one provider since the last report."""

    def __init__(self) -> None:
        self.works = False
        self.successes = 0
        self.failures: Counter[ErrorCode] = Counter()
        self.failing = 0
        self.details: dict[ErrorCode, str] = {}
        self.perhaps_paid = 0

    def succeeded(self) -> None:
        self.works, self.failing = True, 0
        self.successes += 1

    def failed(self, failure: Failure, *, perhaps_paid: bool) -> None:
        self.failures[failure.code] += 1
        self.perhaps_paid += perhaps_paid
        if failure.rule.kind is ErrorKind.USER:
            self.works, self.failing = True, 0
            return
        self.details[failure.code] = failure.detail
        self.failing += failure.code in AGAINST_PROVIDER

    def after(self, earlier: "_Batch") -> None:
        """Take in an earlier batch that could not be reported."""
        self.successes += earlier.successes
        self.failures += earlier.failures
        self.failing += 0 if self.works else earlier.failing
        self.works = self.works or earlier.works
        self.details = earlier.details | self.details
        self.perhaps_paid += earlier.perhaps_paid

    def report(self) -> ProviderReport:
        return ProviderReport(
            works=self.works,
            successes=self.successes,
            failures=dict(self.failures),
            details=self.details,
            perhaps_paid=self.perhaps_paid,
            failing_since_success=self.failing,
        )


class ProviderReports:
    """Gathers what becomes of calls, and reports it to each provider's health workflow every 2 s.

    Nothing waits for it. What cannot be reported stays in the batch for the next time; what a
    killed process had gathered is gone: it is statistics, and the next calls make new ones.
    """

    def __init__(self) -> None:
        self._batches: dict[str, _Batch] = {}

    def succeeded(self, provider: str) -> None:
        """A call made an image."""
        self._batches.setdefault(provider, _Batch()).succeeded()

    def failed(self, provider: str, failure: Failure, *, perhaps_paid: bool = False) -> None:
        """A call made none. What is our own fault, or was canceled, is not reported."""
        if failure.code not in _NOT_THE_PROVIDERS:
            batch = self._batches.setdefault(provider, _Batch())
            batch.failed(failure, perhaps_paid=perhaps_paid)

    @asynccontextmanager
    async def reporting(self, client: Client) -> AsyncIterator[None]:
        """Report while the block runs, and the rest at its end."""
        task = asyncio.create_task(self._report_on(client))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            await self._report(client)

    async def _report_on(self, client: Client) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self._report(client)

    async def _report(self, client: Client) -> None:
        await asyncio.gather(*(self._report_one(client, name) for name in list(self._batches)))

    async def _report_one(self, client: Client, provider: str) -> None:
        batch, reported = self._batches.pop(provider), False
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):  # over the client's own retries
                await client.start_workflow(
                    PROVIDER_HEALTH_WORKFLOW,
                    ProviderHealthState(provider=provider),
                    id=provider_health_id(provider),
                    task_queue=GENERATION_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    start_signal=REPORT_SIGNAL,
                    start_signal_args=[batch.report()],
                    static_summary=f"health of {provider}",
                    priority=Priority(priority_key=FIRST_PRIORITY),
                )
            reported = True
        except Exception as error:  # noqa: BLE001  # whatever it is, the next round tries again
            reason = str(error) or type(error).__name__
            logger.warning("the health of %s was not reported: %s", provider, reason)
        finally:
            if not reported:
                self._batches.setdefault(provider, _Batch()).after(batch)


class CircuitBoard:
    """What the planner knows of the circuits: asked every 5 s, never while a plan waits.

    `providers` are those that share a model with another one; no plan could avoid the rest.
    """

    def __init__(self, providers: Collection[str]) -> None:
        self._circuits = dict.fromkeys(providers, Circuit.CLOSED)
        self._half_open_turns: set[str] = set()

    def arranged(self, routes: tuple[Route, ...]) -> tuple[tuple[Route, ...], tuple[str, ...]]:
        """The routes with the avoided ones last, and the providers that are avoided.

        After each look, one plan takes the route of a half-open provider as usual.
        """
        avoided = [route for route in routes if self._is_avoided(route.provider)]
        if len(avoided) == len(routes):
            return routes, ()
        preferred = [route for route in routes if route not in avoided]
        self._half_open_turns.discard(preferred[0].provider)
        return (*preferred, *avoided), tuple(route.provider for route in avoided)

    def _is_avoided(self, provider: str) -> bool:
        match self._circuits.get(provider, Circuit.CLOSED):
            case Circuit.OPEN:
                return True
            case Circuit.HALF_OPEN:
                return provider not in self._half_open_turns
        return False

    @asynccontextmanager
    async def refreshing(self, client: Client) -> AsyncIterator[None]:
        """Refresh while the block runs."""
        task = asyncio.create_task(self._look_on(client))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _look_on(self, client: Client) -> None:
        while True:
            for provider in self._circuits:
                self._circuits[provider] = await self._look(client, provider)
            self._half_open_turns = set(self._circuits)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, client: Client, provider: str) -> Circuit:
        handle = client.get_workflow_handle(provider_health_id(provider))
        try:
            view: ProviderHealthView = await handle.query(
                HEALTH_QUERY,
                result_type=ProviderHealthView,
                reject_condition=QueryRejectCondition.NOT_OPEN,
                rpc_timeout=timedelta(seconds=PATIENCE_SECONDS),
            )
        except WorkflowQueryRejectedError:  # it has ended: nothing is known
            return Circuit.CLOSED
        except Exception as error:  # noqa: BLE001  # whatever it is, the next look may succeed
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return Circuit.CLOSED  # nothing was ever reported
            logger.warning("the health of %s cannot be asked for: %s", provider, error)
            return self._circuits[provider]
        return view.circuit
