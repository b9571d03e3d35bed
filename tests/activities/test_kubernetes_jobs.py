"""A Job's life on a cluster: created once, its image taken, stopped."""

import asyncio
import logging
from functools import partial
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.testing import ActivityEnvironment

from activities.providers.kubernetes.job_object import job_name, result_key
from activities.providers.kubernetes.jobs import KubernetesJobs
from activities.submit import SubmitActivities
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Job
from contracts.tasks import Collected, CollectTask, SubmitMark
from peers.store import s3_client
from tests.activities.activity_runs import Attempt
from tests.activities.kube_calls import (
    collecting,
    jobs_at,
    submission,
    submitted,
    while_watching,
)
from tests.activities.kube_server import NAMESPACE, TOKEN, Kube, status
from tests.activities.provider_calls import at_once, refusal
from tests.activities.stored_images import image_of, stored
from workers.clients import Clients
from workers.settings import Settings


@pytest.fixture
def bucket(worker_settings: Settings) -> Any:
    """Put an object where a container puts it, or look what is there."""
    client = s3_client(worker_settings.storage)

    class Bucket:
        def put(self, key: str, data: bytes) -> None:
            client.put_object(Bucket=worker_settings.storage.bucket, Key=key, Body=data)

        def keys(self, prefix: str) -> list[str]:
            found = client.list_objects_v2(Bucket=worker_settings.storage.bucket, Prefix=prefix)
            return [each["Key"] for each in found.get("Contents", [])]

    return Bucket()


async def test_created_once(
    kube: Kube, service: KubernetesJobs, asked: GenerationRequested
) -> None:
    """Submitting again finds the Job of the first time."""
    first = await submitted(service, submission(asked))
    assert await submitted(service, submission(asked)) == first
    assert first == Job(
        id=first.id, polling_url=f"{NAMESPACE}/{first.id}", stoppable=True, free=True
    )
    assert list(kube.jobs) == [first.id]


async def test_created_again(
    kube: Kube, service: KubernetesJobs, asked: GenerationRequested
) -> None:
    """A run that was reset, and a Job submitted again, are Jobs of their own."""
    await submitted(service, submission(asked))
    await submitted(service, submission(asked), run_id="run-2")
    await submitted(service, submission(asked, number=1))
    assert len(kube.jobs) == 3


async def test_somebody_elses_job(
    kube: Kube, service: KubernetesJobs, asked: GenerationRequested
) -> None:
    """A Job of our name without our label is an error, and is not waited for."""
    task = submission(asked)
    kube.foreign(job_name(task, "run-1"))
    error = await refusal(submitted(service, task))
    assert error.failure.code is ErrorCode.INTERNAL
    assert "not ours" in error.failure.detail


async def test_there_and_gone(kube: Kube, clients: Clients, asked: GenerationRequested) -> None:
    """A Job that is deleted between 409 and the look at it is created at the next try."""
    kube.next_answers = [partial(status, 409, "AlreadyExists")]
    async with jobs_at(kube.url, clients) as service:
        error = await refusal(submitted(service, submission(asked)))
        assert (error.failure.code, error.perhaps_paid) == (ErrorCode.PROVIDER_UNAVAILABLE, None)
        await submitted(service, submission(asked))


async def test_lost_reply(
    kube: Kube, clients: Clients, service: KubernetesJobs, asked: GenerationRequested
) -> None:
    """A reply that is lost, and lost again: nothing counts as lost, and there is one Job."""
    submit = SubmitActivities(service, clients.images, clients.memory, clients.reports).submit
    left: list[SubmitMark] = []
    for number in (1, 2):
        kube.lose_next_reply = True
        attempt = Attempt(number, left)
        error = await attempt.failure(submit, submission(asked))
        assert (error.type, error.non_retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, False)
        left = attempt.recorded[-1:]
        assert left == [SubmitMark(settled=True)]
    for marks in (left, []):  # also after a worker that died without a word
        found = await Attempt(3, marks).run(submit, submission(asked))
        assert found.job is not None
        assert list(kube.jobs) == [found.job.id]


async def test_a_job_needs_no_memory(
    clients: Clients, service: KubernetesJobs, asked: GenerationRequested
) -> None:
    """One that Temporal never learned of is found by its name: nothing was lost, nothing counts."""
    submit = SubmitActivities(service, clients.images, clients.memory, clients.reports).submit
    made = await Attempt(reachable=False).run(submit, submission(asked))
    assert await Attempt().run(submit, submission(asked)) == made
    assert made.recovered is False


@pytest.mark.parametrize(
    ("details", "left"),
    [
        (ActivityCancellationDetails(cancel_requested=True), 0),
        (ActivityCancellationDetails(timed_out=True), 1),
        (ActivityCancellationDetails(worker_shutdown=True), 1),
    ],
)
async def test_canceled_while_it_is_created(
    kube: Kube,
    service: KubernetesJobs,
    asked: GenerationRequested,
    details: ActivityCancellationDetails,
    left: int,
) -> None:
    """The reply was lost: a Job that was taken back is deleted, another try finds the others."""
    kube.hold_next_reply.clear()
    environment = ActivityEnvironment()
    submitting = asyncio.ensure_future(environment.run(service.submit, submission(asked), at_once))
    async with asyncio.timeout(100):
        await kube.held.wait()
        assert len(kube.jobs) == 1
        environment.cancel(details)
        kube.hold_next_reply.set()
        with pytest.raises(asyncio.CancelledError):
            await submitting
    assert len(kube.jobs) == left


async def test_job_to_store(
    kube: Kube,
    clients: Clients,
    service: KubernetesJobs,
    task: CollectTask,
    picture: bytes,
    bucket: Any,
) -> None:
    """The end is seen while it is watched for; the image is kept, the container's copy is not."""
    key = result_key(task.job.id, task.route)
    bucket.put(key, picture)
    collected = await while_watching(
        kube,
        Attempt().run(collecting(clients, service).collect, task),
        partial(kube.step, task.job.id, phase="Running"),
        partial(kube.completes, task.job.id),
    )
    assert collected.image == await clients.store.find(image_of(task.request))
    assert bucket.keys(key) == []
    jobs, pods = (
        f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs",
        f"/api/v1/namespaces/{NAMESPACE}/pods",
    )
    assert kube.calls[1:] == [f"GET {jobs}", f"GET {pods}", f"GET {pods}", f"GET {jobs} watch"]


async def test_a_container_of_the_clusters_fails_after_ours_has_ended_well(
    kube: Kube,
    clients: Clients,
    service: KubernetesJobs,
    task: CollectTask,
    picture: bytes,
    bucket: Any,
) -> None:
    """The Job has failed, and its image is there: the image counts."""
    bucket.put(result_key(task.job.id, task.route), picture)
    containers = [
        {"name": "generate", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {"name": "istio-proxy", "state": {"terminated": {"exitCode": 77, "reason": "Error"}}},
    ]
    failed = ("Failed", "BackoffLimitExceeded")
    await kube.step(task.job.id, failed, phase="Failed", containerStatuses=containers)
    collected = await Attempt().run(collecting(clients, service).collect, task)
    assert collected.image == await clients.store.find(image_of(task.request))


async def test_a_container_of_the_clusters_keeps_the_pod_alive(
    kube: Kube,
    clients: Clients,
    service: KubernetesJobs,
    task: CollectTask,
    picture: bytes,
    bucket: Any,
) -> None:
    """Ours has ended well, a sidecar runs on: the image counts, and the Job is deleted."""
    bucket.put(result_key(task.job.id, task.route), picture)
    containers = [
        {"name": "generate", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {"name": "istio-proxy", "state": {"running": {}}},
    ]
    await kube.step(task.job.id, phase="Running", containerStatuses=containers)
    collected = await Attempt().run(collecting(clients, service).collect, task)
    assert collected.image == await clients.store.find(image_of(task.request))
    assert kube.jobs == {}


async def test_image_in_the_store(
    kube: Kube,
    clients: Clients,
    service: KubernetesJobs,
    task: CollectTask,
    picture: bytes,
    bucket: Any,
) -> None:
    """A predecessor died after it kept the image: the container's copy is removed all the same."""
    key = result_key(task.job.id, task.route)
    bucket.put(key, picture)
    kept = await stored(clients, image_of(task.request), picture)
    collected = await Attempt(2).run(collecting(clients, service).collect, task)
    assert collected == Collected(image=kept)
    assert bucket.keys(key) == []


@pytest.mark.parametrize("data", [None, b"", b"<!doctype html>"], ids=["none", "empty", "page"])
async def test_no_image(
    kube: Kube,
    clients: Clients,
    service: KubernetesJobs,
    task: CollectTask,
    bucket: Any,
    data: bytes | None,
) -> None:
    """A Job that is complete, and no image, or none that is one: this Job makes no other."""
    if data is not None:
        bucket.put(result_key(task.job.id, task.route), data)
    await kube.completes(task.job.id)
    error = await Attempt().failure(collecting(clients, service).collect, task)
    assert (error.type, error.non_retryable) == (ErrorCode.INVALID_OUTPUT, True)
    assert await clients.store.find(image_of(task.request)) is None


async def test_result_is_measured_first(clients: Clients, bucket: Any) -> None:
    """An object that is too large is not read."""
    bucket.put("jobs/large.png", b"x" * 1_001)
    assert await clients.store.read("jobs/large.png", 1_001) == b"x" * 1_001
    error = await refusal(clients.store.read("jobs/large.png", 1_000))
    assert error.failure.code is ErrorCode.INVALID_OUTPUT


async def test_result_waits_for_room(
    clients: Clients, service: KubernetesJobs, task: CollectTask
) -> None:
    """No image is read before there is room for it."""

    async def no_room() -> None:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await service.fetch(task, "jobs/x.png", no_room)


async def test_stopped(
    kube: Kube, clients: Clients, service: KubernetesJobs, task: CollectTask
) -> None:
    """Stopping deletes the Job with its pods; one that is gone is as good as stopped."""
    stop = collecting(clients, service).stop
    assert "is deleted" in (await Attempt().run(stop, task)).answer
    assert (kube.jobs, kube.deletions) == ({}, ["Background"])
    assert "was gone" in (await Attempt().run(stop, task)).answer


async def test_stopped_after_its_end(
    kube: Kube, service: KubernetesJobs, task: CollectTask, picture: bytes, bucket: Any
) -> None:
    """A Job that has ended keeps its log for a while; its image, not needed, is deleted."""
    key = result_key(task.job.id, task.route)
    bucket.put(key, picture)
    await kube.completes(task.job.id)
    assert "had ended (Complete)" in await service.stop(task)
    assert (list(kube.jobs), bucket.keys(key)) == ([task.job.id], [])


async def test_stop_refused(
    kube: Kube, clients: Clients, service: KubernetesJobs, task: CollectTask
) -> None:
    """A stop that fails has its code, and is tried again."""
    kube.next_answers = [partial(status, 503, "ServiceUnavailable")]
    error = await Attempt().failure(collecting(clients, service).stop, task)
    assert (error.type, error.non_retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, False)


async def test_a_job_that_cannot_be_deleted(
    kube: Kube, service: KubernetesJobs, task: CollectTask, caplog: pytest.LogCaptureFixture
) -> None:
    """A pod that never starts is reported all the same when its Job cannot be deleted."""
    await kube.waits(task.job.id, "ImagePullBackOff")
    kube.forbidden = {"DELETE"}
    with caplog.at_level(logging.WARNING):
        error = await refusal(service.poll(task))
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert "left until its deadline" in caplog.text


@pytest.mark.usefixtures("correlated")
async def test_on_the_wire(kube: Kube, service: KubernetesJobs, asked: GenerationRequested) -> None:
    """The API gets the token and the ids."""
    await submitted(service, submission(asked))
    headers = kube.headers[0]
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-Correlation-ID"] == str(asked.correlation_id)
    assert asked.correlation_id.hex in headers["traceparent"]
