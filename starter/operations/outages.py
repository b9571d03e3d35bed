"""Odoos that are known to be away, as operators' commands see them."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from pydantic import ValidationError
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError

from contracts.names import HEALTH_QUERY, PROBE_NOW_UPDATE, odoo_health_id
from contracts.odoo_health import OdooHealthView

QUERY_TIMEOUT = timedelta(seconds=5)
PROBE_SECONDS = 150.0
"""For a probe: it may wait for one that is under way, and deliver one outcome."""


class Outages:
    """What is known of each Odoo, asked once for a command, however many deliveries it is about."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: dict[str, asyncio.Task[str | None]] = {}

    async def away(self, odoo: str) -> str | None:
        """What to say of an Odoo that is still away after a probe; None when it is not known to be.

        Where its health cannot be asked for, the gate before each delivery decides.
        """
        if odoo not in self._asked:
            self._asked[odoo] = asyncio.create_task(self._probe(odoo))
        return await asyncio.shield(self._asked[odoo])

    async def _probe(self, odoo: str) -> str | None:
        handle = self._client.get_workflow_handle(odoo_health_id(odoo))
        view = OdooHealthView(odoo=odoo)
        with suppress(
            *(RPCError, RPCTimeoutOrCancelledError, WorkflowQueryFailedError),
            *(WorkflowQueryRejectedError, WorkflowUpdateFailedError, ValidationError, TimeoutError),
        ):
            view = OdooHealthView.model_validate(
                await handle.query(
                    HEALTH_QUERY,
                    reject_condition=QueryRejectCondition.NOT_OPEN,
                    rpc_timeout=QUERY_TIMEOUT,
                )
            )
            if view.away_since:
                async with asyncio.timeout(PROBE_SECONDS):
                    asked = await handle.execute_update(PROBE_NOW_UPDATE)
                view = OdooHealthView.model_validate(asked)
        if view.away_since is None:
            return None
        return f"{odoo} is away since {view.away_since}: not tried; {view.detail}"
