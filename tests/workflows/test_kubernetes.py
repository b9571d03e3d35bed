"""Generations on a Kubernetes of one's own: one Job each, and none left behind."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from activities.providers.kubernetes.kind import KubernetesSettings
from contracts.errors import ErrorCode
from contracts.generation import GenerationState, Route
from deploy.local.sandbox.images.painter import Picture, paint
from peers.store import s3_client
from tests.activities.kube_server import NAMESPACE, TOKEN, Kube, Object, kube_server
from tests.lab import Lab, working
from workers.settings import ModelSettings, Settings

KUBERNETES_MODEL_ID = UUID("44444444-4444-4444-8444-444444444444")
ROUTE = Route(provider="cluster", model="registry.example.com/sdxl:3")


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    """A cluster without a kubelet: its pods wait for ever."""
    async with kube_server() as running:
        yield running


@pytest.fixture
def on_kube(kube: Kube, settings: Settings) -> Settings:
    """Settings with the cluster as a provider, and a model on it."""
    cluster = KubernetesSettings(
        kind="kubernetes", base_url=kube.url, api_key=SecretStr(TOKEN), namespace=NAMESPACE
    )
    model = ModelSettings.model_construct(routes=(ROUTE,))
    return settings.model_copy(
        update={
            "providers": {**settings.providers, "cluster": cluster},
            "models": {**settings.models, KUBERNETES_MODEL_ID: model},
        }
    )


@pytest.fixture
async def kubelet(kube: Kube, on_kube: Settings) -> AsyncIterator[Callable[..., None]]:
    """Give the cluster a kubelet, and say with which codes the next containers exit."""
    running: list[asyncio.Task[None]] = []

    def starts(*exits: int) -> None:
        codes = list(exits)

        def run(job: Object) -> None:
            code = codes.pop(0) if codes else 0
            running.append(asyncio.create_task(_run(kube, on_kube, job, code)))

        kube.on_created = run

    yield starts
    await asyncio.gather(*running)


async def _run(kube: Kube, settings: Settings, job: Object, code: int) -> None:
    """What the kubelet, the container and the Job's controller do."""
    name = job["metadata"]["name"]
    container: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each["value"] for each in container["env"]}
    await kube.step(name, phase="Running")
    if code:
        await kube.fails(name, code)
        return
    asked = json.loads(env["DURAGEN_REQUEST"])
    picture = Picture(asked["prompt"], 7, asked["width"], asked["height"])
    put = partial(
        s3_client(settings.storage).put_object,
        Bucket=env["DURAGEN_RESULT_BUCKET"],
        Key=env["DURAGEN_RESULT_KEY"],
    )
    await asyncio.to_thread(lambda: put(Body=paint(picture)))
    await kube.completes(name)


async def _placed(kube: Kube) -> None:
    async with asyncio.timeout(100):
        await kube.watching.wait()


async def test_a_job_makes_the_image(
    lab: Lab, kube: Kube, on_kube: Settings, kubelet: Callable[..., None]
) -> None:
    """One Job, its image with Odoo, nothing left beside it in the bucket."""
    kubelet()
    request = lab.request(model_id=KUBERNETES_MODEL_ID)
    async with working(lab.client, on_kube):
        outcome = await lab.outcome(request)
    assert outcome.state is GenerationState.COMPLETED
    (name,) = kube.jobs
    assert str(request.request_id) in name
    left = s3_client(on_kube.storage).list_objects_v2(
        Bucket=on_kube.storage.bucket, Prefix=f"jobs/{name}"
    )
    assert left["KeyCount"] == 0
    ledgers = await lab.ledgers(request)
    assert [each["event"]["status"] for each in ledgers.deliveries] == ["completed"]


async def test_a_job_that_fails_is_submitted_again(
    lab: Lab, kube: Kube, on_kube: Settings, kubelet: Callable[..., None]
) -> None:
    """A passing trouble of the container costs another Job, of another name."""
    kubelet(75)
    async with working(lab.client, on_kube):
        outcome = await lab.outcome(lab.request(model_id=KUBERNETES_MODEL_ID))
    assert outcome.state is GenerationState.COMPLETED
    assert len(kube.jobs) == 2


async def test_a_prompt_that_the_container_refuses(
    lab: Lab, kube: Kube, on_kube: Settings, kubelet: Callable[..., None]
) -> None:
    """The container's exit code is the user's answer; there is no second Job."""
    kubelet(77, 77)
    async with working(lab.client, on_kube):
        outcome = await lab.outcome(lab.request(model_id=KUBERNETES_MODEL_ID))
    assert outcome.failure is not None
    assert outcome.failure.code is ErrorCode.POLICY_INPUT
    assert len(kube.jobs) == 1


async def test_another_worker_goes_on_with_the_job(
    lab: Lab, kube: Kube, on_kube: Settings, kubelet: Callable[..., None]
) -> None:
    """A worker that leaves hands the Job over, and the next one takes its image."""
    request = lab.request(model_id=KUBERNETES_MODEL_ID)
    async with working(lab.client, on_kube):
        handle = await lab.start(request)
        await _placed(kube)
    (job,) = kube.jobs.values()
    async with working(lab.client, on_kube), asyncio.timeout(100):
        await _run(kube, on_kube, job, 0)
        outcome = await handle.result()
    assert outcome.state is GenerationState.COMPLETED
    assert len(kube.jobs) == 1


async def test_a_cancel_deletes_the_job(lab: Lab, kube: Kube, on_kube: Settings) -> None:
    """Whoever takes the request back frees the GPU, and Odoo gets the outcome."""
    request = lab.request(model_id=KUBERNETES_MODEL_ID)
    async with working(lab.client, on_kube), asyncio.timeout(100):
        handle = await lab.start(request)
        await _placed(kube)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert (kube.jobs, kube.deletions) == ({}, ["Background"])
    ledgers = await lab.ledgers(request)
    assert [each["event"]["errorCode"] for each in ledgers.deliveries] == ["CANCELED"]


async def test_a_deadline_deletes_the_job(lab: Lab, kube: Kube, on_kube: Settings) -> None:
    """A generation that waits no longer leaves no Job behind."""
    short = on_kube.generation.model_copy(update={"deadline_seconds": 4})
    request = lab.request(model_id=KUBERNETES_MODEL_ID)
    async with working(lab.client, on_kube.model_copy(update={"generation": short})):
        handle = await lab.start(request)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert (kube.jobs, kube.deletions) == ({}, ["Background"])
