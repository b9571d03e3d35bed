"""An outage of Odoo that lasts, on the server whose clock jumps ahead."""

from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from contracts.odoo_health import OdooHealthRules
from tests.lab import Lab, working
from tests.workflows.odoo_peer import OdooPeer, found_away, odoo_peer, seen, with_odoo
from workers.settings import Settings

RULES = OdooHealthRules(thorough_every=1_000_000)
"""That server lists no workflows, so there is no trial."""


async def test_one_probe_an_interval(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings
) -> None:
    """An hour without Odoo is one look every 10 s, and no delivery."""
    lab, environment = skipping
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = 503
        await found_away(lab, odoo, RULES)
        await environment.sleep(timedelta(hours=1))
        most = 3_600 / RULES.probe_seconds
        assert most * 0.9 <= odoo.gets <= most + 1
        assert odoo.attempts == []
        view = await seen(lab.client, odoo)
        assert view.away_since
        assert "answered 503 to a look" in view.detail


async def test_it_stays_away_when_it_continues_as_new(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings
) -> None:
    """A new run begins with all that is known, and goes on probing."""
    lab, environment = skipping
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = 503
        first = await found_away(lab, odoo, RULES.model_copy(update={"long_history_events": 20}))
        since = (await seen(lab.client, odoo)).away_since
        await environment.sleep(timedelta(minutes=5))
        latest = await lab.client.get_workflow_handle(first.id).describe()
        assert latest.run_id != first.first_execution_run_id
        assert (await seen(lab.client, odoo)).away_since == since
        assert odoo.gets > 20


async def test_an_odoo_that_was_removed_is_forgotten(
    skipping: tuple[Lab, WorkflowEnvironment], settings: Settings
) -> None:
    """No worker has it in its settings: there is nothing to probe, and the workflow ends."""
    lab, _ = skipping
    async with working(lab.client, settings):
        handle = await found_away(lab, OdooPeer("http://gone.example.com"), RULES)
        await handle.result()
        assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
