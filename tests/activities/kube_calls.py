"""How the tests of Kubernetes call it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kube_server import NAMESPACE, TOKEN
from provider_calls import at_once
from pydantic import SecretStr
from temporalio.testing import ActivityEnvironment

from activities.providers.kubernetes import KubernetesJobs
from activities.providers.kubernetes_api import Cluster
from activities.providers.kubernetes_http import Connection
from contracts.events import GenerationRequested
from contracts.generation import CollectTask, Job, Route, SubmitTask
from workers.wiring import Clients


def placing(asked: GenerationRequested, number: int = 0, **parameters: Any) -> SubmitTask:
    """The task of a submission."""
    route = Route(provider="k", model="registry.example.com/sdxl:3", parameters=parameters)
    return SubmitTask(request=asked, route=route, number=number)


def waiting(placed: SubmitTask, job: Job) -> CollectTask:
    """The task of waiting for a submission's job."""
    return CollectTask(request=placed.request, route=placed.route, job=job)


@asynccontextmanager
async def jobs_at(
    url: str,
    clients: Clients,
    *,
    namespace: str = NAMESPACE,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    **more: Any,
) -> AsyncIterator[KubernetesJobs]:
    """The adapter under test, with the store that is there."""
    key = SecretStr("" if token_file else TOKEN)
    connection = Connection(url, key, token_file, ca_file)
    try:
        yield KubernetesJobs(
            Cluster(connection), clients.store, namespace, **{"watch_seconds": 2, **more}
        )
    finally:
        await connection.close()


async def submitted(service: KubernetesJobs, task: SubmitTask, run_id: str = "run-1") -> Job:
    """Submit, as an activity of this workflow run does."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_run_id=run_id)
    return await environment.run(service.submit, task, at_once)
