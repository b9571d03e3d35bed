"""What the workers of one process are made of."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, get_args, get_type_hints
from uuid import uuid4

import pytest
from pydantic import BaseModel
from temporalio.client import Client
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    PollerBehaviorAutoscaling,
    UnsandboxedWorkflowRunner,
    Worker,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from contracts import names
from deploy.local.stack.local_stack import LocalStack
from otel import correlation
from otel.correlation import Correlation
from workers.clients import open_clients
from workers.correlating import CorrelationInterceptor
from workers.settings import NotifySettings, ProcessSettings, Settings
from workers.wiring import build_workers

ACTIVITIES = {
    names.PLAN_ACTIVITY,
    names.SUBMIT_ACTIVITY,
    names.COLLECT_ACTIVITY,
    names.STOP_JOB_ACTIVITY,
    names.REPORT_CUT_OFF_ACTIVITY,
    names.FIND_STORED_ACTIVITY,
    names.DELIVER_ACTIVITY,
    names.NOTIFY_ACTIVITY,
    names.CANCEL_ACTIVITY,
    names.SEND_WEBHOOK_ACTIVITY,
    names.REPORT_WEBHOOK_ACTIVITY,
    names.LOOK_UP_ACTIVITY,
    names.CALL_BACK_ACTIVITY,
}
OF_NO_GENERATION = {
    names.PROBE_ACTIVITY,
    names.SEND_ALERTS_ACTIVITY,
    names.COUNT_BACKLOG_ACTIVITY,
    names.PROBE_ODOO_ACTIVITY,
    names.RELEASE_ACTIVITY,
}
"""They look at a provider, at an Odoo, or at all generations."""

RUNNERS = [(False, UnsandboxedWorkflowRunner), (True, SandboxedWorkflowRunner)]

IDS = Correlation(correlation_id=uuid4(), request_id=uuid4())


@pytest.fixture(scope="module")
async def workers(stack: LocalStack, settings: Settings) -> AsyncIterator[dict[str, Worker]]:
    """Every worker there can be, by its queue; none of them runs."""
    # Of its own: a client takes one worker a queue, and these are never shut down.
    client = await Client.connect(stack.temporal_address)
    notify = NotifySettings(base_url="http://127.0.0.1:1")
    everything = settings.model_copy(update={"notify": notify})
    async with open_clients(everything, traced=False) as clients:
        made = build_workers(client, everything, clients)
        yield {worker.task_queue: worker for worker in made}


@pytest.mark.parametrize(("sandbox", "runner"), RUNNERS, ids=["production", "tests"])
async def test_workflows_run_in_the_sandbox_where_it_is_set(
    stack: LocalStack, settings: Settings, sandbox: bool, runner: type
) -> None:
    """A worker in production does without it; every test has it (tests/conftest.py)."""
    assert settings.worker.sandbox
    assert not ProcessSettings().sandbox
    process = settings.worker.model_copy(update={"sandbox": sandbox})
    client = await Client.connect(stack.temporal_address)
    chosen = settings.model_copy(update={"worker": process})
    async with open_clients(chosen, traced=False) as clients:
        [worker, *_] = build_workers(client, chosen, clients)
    assert isinstance(worker.config()["workflow_runner"], runner)


def _activities(workers: dict[str, Worker]) -> dict[str, Any]:
    found = [each for worker in workers.values() for each in worker.config()["activities"]]
    return {each.__temporal_activity_definition.name: each for each in found}


def _sample(model: type[BaseModel]) -> BaseModel:
    """One of `model` with the ids wherever it has a place for them, at any depth."""
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if name in IDS._fields:
            values[name] = getattr(IDS, name)
        elif inner and field.is_required():
            values[name] = _sample(inner)
    return model.model_construct(**values)


class _Activity(ActivityInboundInterceptor):
    """Stands where the activity would; says what its logs and calls would carry."""

    def __init__(self) -> None:
        pass  # the base class wants a next one

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ARG002
        return correlation.current()


async def test_every_activity_is_bound_to_the_ids_of_its_generation(
    workers: dict[str, Worker],
) -> None:
    """An input that the interceptor cannot read makes calls and log lines that nobody finds."""
    activities = _activities(workers)
    assert set(activities) == ACTIVITIES | OF_NO_GENERATION
    interceptor = CorrelationInterceptor().intercept_activity(_Activity())
    for name in ACTIVITIES:
        activity = activities[name]
        hints = get_type_hints(activity)
        hints.pop("return")
        [model] = hints.values()
        task = ExecuteActivityInput(fn=activity, args=[_sample(model)], executor=None, headers={})
        seen = await interceptor.execute_activity(task)
        assert seen == IDS, f"{name}: teach workers/correlating.py to read {model.__name__}"
    assert correlation.current() is None


async def test_each_queue_has_a_worker_and_jobs_have_their_own(
    workers: dict[str, Worker], settings: Settings
) -> None:
    """Workflows run on `generation` alone."""
    [odoo] = settings.odoo
    theirs = {names.odoo_queue(odoo.origin), names.provider_jobs_queue("flux")}
    ours = {"generation", "notifications", "provider.openai", "provider.flux", "webhooks"}
    assert set(workers) == ours | theirs
    with_workflows = [queue for queue, each in workers.items() if each.config()["workflows"]]
    assert with_workflows == ["generation"]


async def test_every_worker_scales_its_pollers_and_leaves_in_good_order(
    workers: dict[str, Worker], settings: Settings
) -> None:
    """The settings' grace, and polling that follows the load."""
    for queue, worker in workers.items():
        config = worker.config()
        assert isinstance(config["workflow_task_poller_behavior"], PollerBehaviorAutoscaling), queue
        assert isinstance(config["activity_task_poller_behavior"], PollerBehaviorAutoscaling), queue
        grace = timedelta(seconds=settings.grace_seconds)
        assert config["graceful_shutdown_timeout"] == grace
