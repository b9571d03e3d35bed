"""How the tests of Kubernetes call it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from temporalio.testing import ActivityEnvironment

from activities.collect import CollectActivities
from activities.providers.kubernetes.api import WATCH_GRACE_SECONDS, Cluster
from activities.providers.kubernetes.connection import CALL_SECONDS, Connection
from activities.providers.kubernetes.jobs import KubernetesJobs
from contracts.events import GenerationRequested
from contracts.generation import Job, Route
from contracts.tasks import CollectTask, SubmitTask
from tests.activities.kube_server import NAMESPACE, TOKEN, Kube
from tests.activities.provider_calls import at_once
from workers.clients import Clients


def submission(asked: GenerationRequested, number: int = 0, **parameters: Any) -> SubmitTask:
    """The task of a submission."""
    route = Route(provider="k", model="registry.example.com/sdxl:3", parameters=parameters)
    return SubmitTask(request=asked, route=route, number=number)


def waiting(submit_task: SubmitTask, job: Job) -> CollectTask:
    """The task of waiting for a submission's job."""
    return CollectTask(request=submit_task.request, route=submit_task.route, job=job)


@asynccontextmanager
async def jobs_at(
    url: str,
    clients: Clients,
    *,
    namespace: str = NAMESPACE,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    call_seconds: float = CALL_SECONDS,
    watch_grace_seconds: float = WATCH_GRACE_SECONDS,
    **more: Any,
) -> AsyncIterator[KubernetesJobs]:
    """The adapter under test, with the store that is there."""
    key = SecretStr("" if token_file else TOKEN)
    connection = Connection(url, key, token_file, ca_file, call_seconds=call_seconds)
    try:
        cluster = Cluster(connection, watch_grace_seconds)
        yield KubernetesJobs(cluster, clients.store, namespace, **{"watch_seconds": 2, **more})
    finally:
        await connection.close()


async def submitted(service: KubernetesJobs, task: SubmitTask, run_id: str = "run-1") -> Job:
    """Submit, as an activity of this workflow run does."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_run_id=run_id)
    return await environment.run(service.submit, task, at_once)


def collecting(clients: Clients, service: KubernetesJobs) -> CollectActivities:
    """The activities under test."""
    return CollectActivities(service, clients.images, clients.memory, clients.reports)


async def while_watching(kube: Kube, poll: Awaitable[Any], *events: Any) -> Any:
    """Poll, and when the watch stands let the events happen, in their order."""
    async with asyncio.timeout(100):
        polling = asyncio.ensure_future(poll)
        await kube.watching.wait()
        for event in events:
            await event()
        return await polling
