"""Waiting for a job: polled and never submitted again, handed back by a worker that leaves."""

import asyncio
from datetime import timedelta

import pytest

from activities.collect import CollectActivities, JobMark
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.tasks import Collected
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, answer, hang
from tests.activities.provider_calls import collection, flux
from tests.activities.stored_images import image_of, stored
from workers.clients import Clients

PENDING = answer(200, {"id": "j-1", "status": "Pending", "progress": 0.4})


def collecting(clients: Clients, peer: Peer, poll_seconds: float = 0.01) -> CollectActivities:
    """The activity under test, polling the peer."""
    service = flux(clients.http, peer.url, poll_seconds=poll_seconds)
    return CollectActivities(service, clients.images, clients.memory, clients.reports)


async def test_job_to_store(
    clients: Clients, peer: Peer, asked: GenerationRequested, picture: bytes
) -> None:
    """A job is polled until it is ready; its image goes to the store, a reference comes back."""
    ready = {"id": "j-1", "status": "Ready", "result": {"sample": f"{peer.url}/a.png"}}
    peer.says(PENDING, answer(200, {"status": "Pending"}), answer(200, ready), answer(200, picture))
    attempt = Attempt()
    task = collection(asked, f"{peer.url}/poll")
    collected = await attempt.run(collecting(clients, peer).collect, task)
    assert collected.image == await clients.store.find(image_of(asked))
    assert [received.path for received in peer.received] == ["/poll"] * 3 + ["/a.png"]
    assert len(collected.model_dump_json()) < 400
    # The heartbeats show the job and how far it is.
    marks = [JobMark(job_id="j-1", percent=percent) for percent in (40, None)]
    assert attempt.shown == marks


async def test_image_in_the_store(
    clients: Clients, peer: Peer, asked: GenerationRequested, picture: bytes
) -> None:
    """An image that a predecessor stored is the result; the job is not even polled."""
    kept = await stored(clients, image_of(asked), picture)
    peer.says(answer(500))
    task = collection(asked, f"{peer.url}/poll")
    collected = await Attempt(2).run(collecting(clients, peer).collect, task)
    assert collected == Collected(image=kept)
    assert peer.received == []


async def test_handed_back(clients: Clients, peer: Peer, asked: GenerationRequested) -> None:
    """A worker that shuts down hands the job back, although the pause is an hour."""
    peer.says(PENDING)
    attempt = Attempt()
    task = collection(asked, f"{peer.url}/poll")
    running = asyncio.create_task(attempt.run(collecting(clients, peer, 3_600).collect, task))
    await peer.arrived.wait()
    assert attempt.environment is not None
    attempt.environment.worker_shutdown()
    assert await running == Collected()
    assert len(peer.received) == 1


async def test_canceled_while_polling(
    clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """A cancellation ends the wait at once, also in the middle of a poll."""
    peer.says(hang)
    attempt = Attempt()
    task = collection(asked, f"{peer.url}/poll")
    running = asyncio.create_task(attempt.run(collecting(clients, peer).collect, task))
    await peer.arrived.wait()
    assert attempt.environment is not None
    attempt.environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("poll", "code", "final"),
    [
        ({"status": "Task not found"}, "JOB_LOST", True),
        ({"status": "Error"}, "PROVIDER_UNAVAILABLE", True),
        ({"status": "Request Moderated"}, "POLICY_INPUT", True),
        ({"status": "Content Moderated"}, "POLICY_OUTPUT", True),
    ],
)
async def test_job_that_ends_without_an_image(
    clients: Clients,
    peer: Peer,
    asked: GenerationRequested,
    poll: dict[str, str],
    code: str,
    *,
    final: bool,
) -> None:
    """A job's bad end has its code, and the job is not polled again."""
    peer.says(answer(200, poll))
    task = collection(asked, f"{peer.url}/poll")
    error = await Attempt().failure(collecting(clients, peer).collect, task)
    assert (error.type, error.non_retryable) == (code, final)


async def test_expired_result(clients: Clients, peer: Peer, asked: GenerationRequested) -> None:
    """An expired link is asked for again, once; then the job is over."""
    ready = {"status": "Ready", "result": {"sample": f"{peer.url}/a.png"}}
    peer.says(answer(200, ready), answer(403), answer(200, ready), answer(403))
    task = collection(asked, f"{peer.url}/poll")
    error = await Attempt().failure(collecting(clients, peer).collect, task)
    assert (error.type, error.non_retryable) == (ErrorCode.RESULT_EXPIRED, True)
    assert [received.path for received in peer.received] == ["/poll", "/a.png"] * 2


async def test_result_that_is_no_image(
    clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """A page where the image should be is INVALID_OUTPUT and is not stored."""
    ready = {"status": "Ready", "result": {"sample": f"{peer.url}/a.png"}}
    peer.says(answer(200, ready), answer(200, "<!doctype html>"))
    task = collection(asked, f"{peer.url}/poll")
    error = await Attempt().failure(collecting(clients, peer).collect, task)
    assert error.type == ErrorCode.INVALID_OUTPUT
    assert await clients.store.find(image_of(asked)) is None


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 422, 503])
async def test_a_poll_that_is_refused_once(
    clients: Clients, peer: Peer, asked: GenerationRequested, picture: bytes, status: int
) -> None:
    """The job is paid for and asking is free: whatever one poll answers, it is asked again."""
    peer.says(answer(status, {"detail": "Not authenticated"}))
    activity, task = collecting(clients, peer), collection(asked, f"{peer.url}/poll")
    error = await Attempt().failure(activity.collect, task)
    assert not error.non_retryable
    assert error.details[0].perhaps_paid == 1
    assert error.details[0].rule.kind != "user"
    ready = {"status": "Ready", "result": {"sample": f"{peer.url}/a.png"}}
    peer.says(answer(200, ready), answer(200, picture))
    assert (await Attempt(2).run(activity.collect, task)).image


async def test_a_poll_that_asks_for_an_hour(
    clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """Temporal would end the activity at once if the next try lay beyond its time."""
    peer.says(answer(429, "", {"retry-after": "3600"}))
    task = collection(asked, f"{peer.url}/poll").model_copy(update={"seconds": 20.0})
    error = await Attempt().failure(collecting(clients, peer).collect, task)
    assert not error.non_retryable
    assert error.next_retry_delay <= timedelta(seconds=20)


async def test_a_poll_that_is_refused_until_the_end(
    clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """When the time is over, it ends with what the polls said, as one that may have been paid."""
    peer.says(answer(403, {"detail": "Not authenticated"}))
    task = collection(asked, f"{peer.url}/poll").model_copy(update={"seconds": 0.0})
    error = await Attempt(9).failure(collecting(clients, peer).collect, task)
    assert (error.type, error.non_retryable) == (ErrorCode.AUTH_CONFIG, True)
    assert error.details[0].perhaps_paid == 1


async def test_a_job_that_is_never_ready(
    clients: Clients, peer: Peer, asked: GenerationRequested
) -> None:
    """It is given up when its route's time is over; it was accepted, so it may be paid for."""
    peer.says(PENDING)
    task = collection(asked, f"{peer.url}/poll").model_copy(update={"seconds": 0.1})
    error = await Attempt().failure(collecting(clients, peer).collect, task)
    assert (error.type, error.non_retryable) == (ErrorCode.PROVIDER_TIMEOUT, True)
    assert error.details[0].perhaps_paid == 1


async def test_refused_link_and_refused_poll(
    clients: Clients, peer: Peer, asked: GenerationRequested, picture: bytes
) -> None:
    """The poll for a fresh link is refused: the job is asked after again, and brings its image."""
    ready = {"status": "Ready", "result": {"sample": f"{peer.url}/a.png"}}
    peer.says(answer(200, ready), answer(403), answer(403))
    activity, task = collecting(clients, peer), collection(asked, f"{peer.url}/poll")
    error = await Attempt().failure(activity.collect, task)
    assert not error.non_retryable
    peer.says(answer(200, ready), answer(200, picture))
    assert (await Attempt(2).run(activity.collect, task)).image


@pytest.mark.parametrize("status", [400, 401, 413, 422])
async def test_refused_link(
    clients: Clients, peer: Peer, asked: GenerationRequested, status: int
) -> None:
    """Whatever the store of the results answers, neither the user nor a key is at fault."""
    ready = {"status": "Ready", "result": {"sample": f"{peer.url}/a.png"}}
    peer.says(answer(200, ready), answer(status), answer(200, ready), answer(status))
    task = collection(asked, f"{peer.url}/poll")
    error = await Attempt().failure(collecting(clients, peer).collect, task)
    assert (error.type, error.non_retryable) == (ErrorCode.RESULT_EXPIRED, True)
