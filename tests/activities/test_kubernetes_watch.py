"""A Job is watched: what its end looks like, what interrupts the watch, and what makes no sense."""

import asyncio
from functools import partial

import pytest

from activities.providers.kubernetes.job_object import result_key
from activities.providers.kubernetes.jobs import KubernetesJobs
from activities.providers.service import JobProgress
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Job
from contracts.tasks import Collected, CollectTask
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, Reply, answer, chunked, drip, html, raw
from tests.activities.kube_calls import (
    collecting,
    jobs_at,
    submission,
    waiting,
    while_watching,
)
from tests.activities.kube_server import NAMESPACE, TOKEN, Kube
from tests.activities.provider_calls import SHORT, refusal
from workers.clients import Clients


async def test_version_too_old(kube: Kube, service: KubernetesJobs, task: CollectTask) -> None:
    """A watch whose version the server has forgotten, before it began or while it went on."""

    async def forget() -> None:
        kube.forgets()
        await kube.wake()

    assert await while_watching(kube, service.poll(task), forget) == JobProgress()
    kube.refuse_next_watch = True
    assert await service.poll(task) == JobProgress()
    done = partial(kube.completes, task.job.id)
    progress = await while_watching(kube, service.poll(task), done)
    assert progress.result_url == result_key(task.job.id, task.route)


async def test_watch_cut(kube: Kube, service: KubernetesJobs, task: CollectTask) -> None:
    """A watch that is cut says nothing; the next poll looks again."""
    kube.cut_next_watch = True
    assert await service.poll(task) == JobProgress()
    await kube.completes(task.job.id)
    assert (await service.poll(task)).result_url


async def test_watch_over(kube: Kube, clients: Clients, task: CollectTask) -> None:
    """A watch that the server ends in time is the end of one poll."""
    async with jobs_at(kube.url, clients, watch_seconds=1) as service:
        assert await service.poll(task) == JobProgress()
    assert kube.calls[-1].endswith("watch")


JOBS = answer(
    200,
    {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "j-1"}, "status": {}}]},
)
WATCHES: dict[str, Reply] = {
    "page": html(200),
    "nothing": answer(200),
    "410": answer(410),
    "no event": answer(200, '{"kind": "Status"}\n'),
    "a number": answer(200, "7\n"),
    "an event of nothing": answer(200, '{"type": "MODIFIED", "object": null}\n'),
    "an event of something else": answer(200, '{"type": "ADDED", "object": {"a": 1}}\n'),
    "too large": chunked(b" " * 5_000_000),
    "drip": drip,
    "closed": raw(),
}


@pytest.mark.parametrize("reply", WATCHES.values(), ids=WATCHES)
async def test_strange_watch(
    clients: Clients,
    peer: Peer,
    asked: GenerationRequested,
    reply: Reply,
) -> None:
    """A watch that makes no sense decides nothing, and ends."""
    peer.says(JOBS, answer(200, {"items": []}), answer(200, {"items": None}), reply)
    task = waiting(submission(asked), Job(id="j-1", polling_url=f"{NAMESPACE}/j-1"))
    async with jobs_at(peer.url, clients, watch_seconds=SHORT, watch_grace_seconds=0) as service:
        assert await service.poll(task) == JobProgress()
    assert "watch=True" in peer.received[-1].path


async def test_watch_forbidden(clients: Clients, peer: Peer, asked: GenerationRequested) -> None:
    """For an account that may not watch the error says so, without its token."""
    refused = answer(403, {"kind": "Status", "reason": "Forbidden", "message": f"{TOKEN} may not"})
    peer.says(JOBS, answer(200, {"items": []}), answer(200, {"items": None}), refused)
    task = waiting(submission(asked), Job(id="j-1", polling_url=f"{NAMESPACE}/j-1"))
    async with jobs_at(peer.url, clients) as service:
        error = await refusal(service.poll(task))
    assert error.failure.code is ErrorCode.AUTH_CONFIG
    assert TOKEN not in repr(error.failure)


async def test_deleted_under_us(kube: Kube, service: KubernetesJobs, task: CollectTask) -> None:
    """A Job that somebody deletes is lost: seen while it is watched, and by the next look."""
    gone = partial(kube.vanishes, task.job.id)
    for call in (while_watching(kube, service.poll(task), gone), service.poll(task)):
        error = await refusal(call)
        assert (error.failure.code, error.final) == (ErrorCode.JOB_LOST, True)


async def test_deleted_after_its_end(
    kube: Kube, service: KubernetesJobs, task: CollectTask
) -> None:
    """A Job that was complete when it was deleted has made its image."""

    async def ends_and_goes() -> None:
        kube.jobs[task.job.id]["status"]["conditions"] = [{"type": "Complete", "status": "True"}]
        await kube.vanishes(task.job.id)

    progress = await while_watching(kube, service.poll(task), ends_and_goes)
    assert progress.result_url == result_key(task.job.id, task.route)


async def test_handed_back(
    kube: Kube, clients: Clients, service: KubernetesJobs, task: CollectTask
) -> None:
    """A worker that shuts down hands the Job back in the middle of a watch of a minute."""
    attempt = Attempt()

    async def leave() -> None:
        assert attempt.environment is not None
        attempt.environment.worker_shutdown()

    running = attempt.run(collecting(clients, service).collect, task)
    assert await while_watching(kube, running, leave) == Collected()
    assert list(kube.jobs) == [task.job.id]


async def test_canceled_while_watching(
    kube: Kube, clients: Clients, service: KubernetesJobs, task: CollectTask
) -> None:
    """A cancellation ends the wait at once."""
    attempt = Attempt()

    async def cancel() -> None:
        assert attempt.environment is not None
        attempt.environment.cancel()

    with pytest.raises(asyncio.CancelledError):
        await while_watching(kube, attempt.run(collecting(clients, service).collect, task), cancel)
