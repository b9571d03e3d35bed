"""A cancellation that comes before or while the paid call is made; what its event says it cost."""

import asyncio

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from tests.lab import Lab, flux_behind_a_relay, working
from workers.settings import Settings


@pytest.mark.parametrize("flux", [False, True])
async def test_a_cancel_before_any_worker_runs_costs_nothing(
    lab: Lab, settings: Settings, flux: bool
) -> None:
    """Started and canceled while no worker was there: no call at all, and Odoo gets the outcome."""
    request = lab.flux_request() if flux else lab.request()
    handle = await lab.start(request)
    await handle.cancel()
    async with working(lab.client, settings), asyncio.timeout(100):
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    ledgers = await lab.ledgers(request)
    assert ledgers.calls == []
    [event] = [each["event"] for each in ledgers.deliveries]
    assert (event["errorCode"], event["mayHaveBeenPaid"]) == ("CANCELED", False)


async def test_a_cancel_while_a_job_is_being_accepted_is_delivered(
    lab: Lab, settings: Settings
) -> None:
    """The job's id comes after the cancellation: the job is left, and Odoo gets the outcome."""
    request = lab.flux_request()
    async with (
        flux_behind_a_relay(lab, settings) as (relay, relayed),
        working(lab.client, relayed),
    ):
        relay.answers.clear()
        handle = await lab.start(request)
        async with asyncio.timeout(100):
            while not (await lab.ledgers(request)).calls:
                await asyncio.sleep(0.05)
        await handle.cancel()
        relay.answers.set()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    ledgers = await lab.ledgers(request)
    [event] = [each["event"] for each in ledgers.deliveries]
    assert (event["errorCode"], event["mayHaveBeenPaid"]) == ("CANCELED", True)
    assert [each["operation"] for each in ledgers.calls] == ["submit"]
