"""The gate before each Odoo: what a process knows of its health, and what it reports.

A delivery asks the gate before it is tried. Open: it goes on, and nothing is asked of anybody. When
so many deliveries in a row have failed in this process, or Odoo was last seen away, the gate looks
first: it reports what the process knows, and asks the health workflow, which alone decides.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client, WorkflowQueryRejectedError
from temporalio.common import Priority, QueryRejectCondition, WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.errors import OdooAwayError
from contracts.names import (
    FIRST_PRIORITY,
    GENERATION_QUEUE,
    HEALTH_QUERY,
    ODOO_HEALTH_WORKFLOW,
    REPORT_SIGNAL,
    odoo_health_id,
)
from contracts.odoo_health import OdooHealthRules, OdooHealthState, OdooHealthView, OdooReport

logger = logging.getLogger(__name__)

REPORT_SECONDS = 2.0
"""A process reports at most one batch an Odoo in this time, however many deliveries fail."""

LOOK_SECONDS = 1.0
"""How old knowledge may be that holds a delivery nobody asks for."""

PATIENCE_SECONDS = 5.0
"""For one call to Temporal, at the end of a process too."""


class _Gate:
    """One Odoo. `seen` is what the health workflow last said; None before it was asked."""

    def __init__(self, odoo: str) -> None:
        self.odoo = odoo
        self.seen: OdooHealthView | None = None
        self.seen_at = float("-inf")
        self.streak = 0
        self.batch = OdooReport()
        self.counted = False
        """Failures were counted against it, by whatever process: answers are reported, too."""
        self.looking = asyncio.Lock()

    @property
    def must_look(self) -> bool:
        """Whether a delivery needs a look before it is tried: a process that begins looks once."""
        return (
            self.seen is None
            or self.seen.away_since is not None
            or self.streak >= OdooHealthRules().failures_in_a_row
        )

    @property
    def has_news(self) -> bool:
        return bool(self.batch.failing_since_answer) or (self.counted and self.batch.answered)


class OdooGates:
    """The gates of one process, by the Odoo's origin. All of them need `watching`."""

    def __init__(self, odoos: Iterable[str]) -> None:
        self._gates = {odoo: _Gate(odoo) for odoo in odoos}
        self._client: Client | None = None

    async def pass_through(self, odoo: str, *, asked: bool) -> None:
        """Return when a delivery may be tried. Raises OdooAwayError when Odoo is known to be away.

        `asked`: somebody asks for this try, so that the look is not older than the question.
        """
        if since := await self._away_since(odoo, 0 if asked else LOOK_SECONDS):
            raise OdooAwayError(odoo, since)

    async def is_away(self, odoo: str) -> bool:
        """Whether the health workflow says so, as of the last second."""
        return await self._away_since(odoo, LOOK_SECONDS) is not None

    def answered(self, odoo: str) -> None:
        """Odoo took an outcome, or refused it."""
        gate = self._gates[odoo]
        gate.streak = 0
        gate.batch = OdooReport(answered=True)

    def failed(self, odoo: str, detail: str) -> None:
        """A delivery ended with ODOO_UNAVAILABLE."""
        gate = self._gates[odoo]
        gate.streak += 1
        failing = gate.batch.failing_since_answer + 1
        gate.batch = gate.batch.model_copy(
            update={"failing_since_answer": failing, "detail": detail}
        )

    @asynccontextmanager
    async def watching(self, client: Client) -> AsyncIterator[None]:
        """Report while the block runs, and the rest at its end."""
        self._client = client
        task = asyncio.create_task(self._report_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            # Without a look: this process may have been the only one that answers it.
            await asyncio.gather(*map(self._report_rest, self._gates.values()))

    async def _away_since(self, odoo: str, age: float) -> str | None:
        gate = self._gates[odoo]
        if not gate.must_look:
            return None
        # What was seen before these failures says nothing of them.
        known = gate.seen is not None and gate.seen.away_since is not None
        wanted = asyncio.get_running_loop().time() - (age if known else 0)
        async with gate.looking:  # those who wait here share the look that comes next
            if gate.seen_at < wanted:
                await self._look(gate)
        return gate.seen.away_since if gate.seen else None

    async def _report_on(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self._report_all()

    async def _report_all(self) -> None:
        for gate in self._gates.values():
            async with gate.looking:
                if gate.has_news:
                    await self._look(gate)

    async def _report_rest(self, gate: _Gate) -> None:
        if self._client is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._report(self._client, gate)
        except Exception as error:  # noqa: BLE001  # statistics: the next deliveries make new ones
            reason = str(error) or type(error).__name__
            logger.warning("the health of %s was not reported: %s", gate.odoo, reason)

    async def _look(self, gate: _Gate) -> None:
        """Report what is new, then ask: the answer takes the report into account."""
        gate.seen_at = asyncio.get_running_loop().time()
        if self._client is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._report(self._client, gate)
                gate.seen = await _health(self._client, gate.odoo)
        except Exception as error:  # noqa: BLE001  # what was known holds; the next look may succeed
            reason = str(error) or type(error).__name__
            logger.warning("the health of %s cannot be asked for: %s", gate.odoo, reason)
            gate.seen = gate.seen or OdooHealthView(odoo=gate.odoo)
            return
        gate.counted = not gate.seen.well
        # What has failed since the report comes on top of what all processes have seen.
        gate.streak = gate.seen.streak + gate.batch.failing_since_answer

    async def _report(self, client: Client, gate: _Gate) -> None:
        if not gate.has_news:
            return
        batch, gate.batch = gate.batch, OdooReport()
        reported = False
        try:
            await client.start_workflow(
                ODOO_HEALTH_WORKFLOW,
                OdooHealthState(odoo=gate.odoo),
                id=odoo_health_id(gate.odoo),
                task_queue=GENERATION_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal=REPORT_SIGNAL,
                start_signal_args=[batch],
                static_summary=f"health of {gate.odoo}",
                priority=Priority(priority_key=FIRST_PRIORITY),
            )
            reported = True
        finally:
            if not reported:
                gate.batch = _joined(batch, gate.batch)


def _joined(earlier: OdooReport, later: OdooReport) -> OdooReport:
    if later.answered:
        return later
    failing = earlier.failing_since_answer + later.failing_since_answer
    detail = later.detail or earlier.detail
    return earlier.model_copy(update={"failing_since_answer": failing, "detail": detail})


async def _health(client: Client, odoo: str) -> OdooHealthView:
    """What the health workflow says; nothing is wrong where there is none. Raises RPCError."""
    handle = client.get_workflow_handle(odoo_health_id(odoo))
    asking = handle.query(
        HEALTH_QUERY,
        result_type=OdooHealthView,
        reject_condition=QueryRejectCondition.NOT_OPEN,
        rpc_timeout=timedelta(seconds=PATIENCE_SECONDS),
    )
    view = OdooHealthView(odoo=odoo)
    try:
        view = await asking
    except WorkflowQueryRejectedError:
        pass  # it has ended: nothing is known
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # nothing was ever reported
            raise
    return view
