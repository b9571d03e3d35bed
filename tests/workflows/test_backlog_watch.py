"""The backlog watch: what waits for a person is an alert for as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.alerts import AlertActivities
from activities.backlog import BacklogActivities
from contracts.alerts import AlertName, BacklogRules, BacklogWatchState
from contracts.errors import DeliveryError, ErrorCode
from contracts.generation import GenerationState
from contracts.names import (
    BACKLOG_WATCH_ID,
    BACKLOG_WATCH_WORKFLOW,
    GENERATION_QUEUE,
    RETRY_DELIVERY_UPDATE,
)
from contracts.tasks import DeliveryDecision
from deploy.local.stack.local_stack import LocalStack
from tests.lab import Handle, Lab, working
from tests.workflows.alerting_peer import AlertLog, Key
from tests.workflows.conftest import time_skipping
from workers.clients import open_clients
from workers.settings import Settings
from workflows import options
from workflows.backlog_watch import BacklogWatch

PARKED = (AlertName.DELIVERIES_PARKED, "odoo", DeliveryError.ODOO_REFUSED)
FAILED = (AlertName.GENERATIONS_FAILED, "duragen", ErrorCode.MODEL_CONFIG)


class Watched(NamedTuple):
    """A stack of its own with a worker, and the watch over it, whose clock a test moves."""

    lab: Lab
    clock: WorkflowEnvironment

    async def shows(self, alerts: AlertLog, *keys: Key) -> None:
        """Let rounds pass until exactly the given alerts fire.

        The index is some moments behind. A failed generation counts for five real minutes: its
        alert is looked for, but never waited for to end.
        """
        async with asyncio.timeout(100):
            while set(alerts.standing) - {FAILED} != set(keys) - {FAILED} or (
                FAILED in keys and FAILED not in alerts.standing
            ):
                await self.clock.sleep(options.COUNT_EVERY)
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Nothing of other tests is parked here."""
    home = tmp_path_factory.mktemp("watched")
    with LocalStack(home, ("temporal", "store", "images", "odoo")) as running:
        yield running


@pytest.fixture
async def watched(own_stack: LocalStack, alerts: AlertLog) -> AsyncIterator[Watched]:
    """The watch runs on the time-skipping server, and counts on the stack's real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURAGEN_CONFIG", str(own_stack.config_path))
        settings = Settings.read()
    client = await Client.connect(
        own_stack.temporal_address, data_converter=pydantic_data_converter
    )
    async with (
        Lab.open(own_stack, client) as lab,
        working(client, settings),
        time_skipping() as clock,
        open_clients(settings, traced=False) as clients,
        Worker(
            clock.client,
            task_queue=GENERATION_QUEUE,
            workflows=[BacklogWatch],
            activities=[
                BacklogActivities(client).count_backlog,
                AlertActivities(clients.http, alerts.url, None).send_alerts,
            ],
        ),
    ):
        handle = await clock.client.start_workflow(
            BACKLOG_WATCH_WORKFLOW,
            BacklogWatchState(),
            id=BACKLOG_WATCH_ID,
            task_queue=GENERATION_QUEUE,
        )
        yield Watched(lab, clock)
        await handle.terminate()


async def _park(lab: Lab, **faults: object) -> Handle:
    await lab.break_odoo(**faults)
    handle = await lab.start(lab.request())
    await lab.reaches(handle, GenerationState.PARKED)
    return handle


async def test_parked_deliveries_are_an_alert_until_they_are_delivered(
    watched: Watched, alerts: AlertLog
) -> None:
    """By reason, with how many and what to do; resolved when the last one is with Odoo."""
    handles = [await _park(watched.lab, status=404) for _ in range(2)]
    await watched.shows(alerts, PARKED)
    alert = alerts.standing[PARKED]
    assert alert["labels"]["severity"] == "critical"
    assert alert["labels"]["source"] == "duragen"
    assert "2 outcomes" in alert["annotations"]["summary"]
    assert "duragen redeliver --all --error ODOO_REFUSED" in alert["annotations"]["description"]
    await watched.lab.clear_faults()
    for handle in handles:
        await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
        await handle.result()
    await watched.shows(alerts)


async def test_failed_generations_are_an_alert(watched: Watched, alerts: AlertLog) -> None:
    """An unknown model: what failed, and how to run it again."""
    request = watched.lab.request(model_id="99999999-9999-4999-8999-999999999999")
    handle = await watched.lab.start(request)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    await watched.shows(alerts, FAILED)
    annotations = alerts.standing[FAILED]["annotations"]
    assert "1 generations failed" in annotations["summary"]
    assert "duragen rerun --all --error MODEL_CONFIG" in annotations["description"]


async def test_what_fires_is_sent_again_and_survives_continue_as_new(
    watched: Watched, alerts: AlertLog
) -> None:
    """An hour: raised each minute, never resolved in between, and histories stay short."""
    handle = await _park(watched.lab, status=404)
    await watched.shows(alerts, PARKED)
    before = len(alerts.posts)
    watch = watched.clock.client.get_workflow_handle(BACKLOG_WATCH_ID)
    first = (await watch.describe()).run_id
    for _ in range(12):  # an hour in one call would outlast the call's own limit on a slow machine
        await watched.clock.sleep(timedelta(minutes=5))
    assert PARKED in alerts.standing
    assert 55 <= len(alerts.posts) - before <= 65
    described = await watch.describe()
    assert described.run_id != first
    assert described.history_length < BacklogRules().long_history_events + 20
    since = [alert for post in alerts.posts[before:] for alert in post]
    assert all(alert["endsAt"] > alert["startsAt"] for alert in since)
    await handle.terminate()
    await watched.shows(alerts)


async def test_an_alertmanager_that_was_away_gets_it_later(
    watched: Watched, alerts: AlertLog
) -> None:
    """No alert was sent for minutes: the next round sends it again."""
    alerts.down()
    handle = await _park(watched.lab, status=404)
    await watched.clock.sleep(timedelta(minutes=5))
    alerts.up()
    await watched.shows(alerts, PARKED)
    await handle.terminate()
    await watched.shows(alerts)
