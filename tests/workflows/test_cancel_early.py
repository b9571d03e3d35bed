"""A cancellation that comes before anything was paid for."""

import asyncio

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from tests.lab import Lab, working
from workers.settings import Settings


@pytest.mark.parametrize("flux", [False, True])
async def test_a_cancel_before_any_worker_runs_costs_nothing(
    lab: Lab, settings: Settings, flux: bool
) -> None:
    """Started and canceled while no worker was there: no call at all, and Odoo is told."""
    request = lab.flux_request() if flux else lab.request()
    handle = await lab.start(request)
    await handle.cancel()
    async with working(lab.client, settings), asyncio.timeout(30):
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    ledgers = await lab.ledgers(request)
    assert ledgers.calls == []
    assert [each["event"]["errorCode"] for each in ledgers.deliveries] == ["CANCELED"]
