"""The paid call: made once, and after a lost reply once more at most."""

import asyncio
from uuid import uuid4

import pytest
from temporalio.activity import ActivityCancellationDetails

from activities.submit import SubmitActivities
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Job, Route
from contracts.tasks import SubmitMark, SubmitTask, Submitted
from deploy.local.sandbox.images.faults import Kind
from deploy.local.stack.local_stack import LocalStack
from otel.correlation import Correlation, bound
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, answer, hang, raw
from tests.activities.provider_calls import KEY, SHORT, flux, openai, submission
from tests.activities.stored_images import image_of, stored
from workers.clients import Clients
from workers.settings import Settings

JOB = Job(id="j-1", polling_url="http://127.0.0.1:1/poll")


class House:
    """The sandbox image service, and submissions to it."""

    def __init__(self, parts: LocalStack, settings: Settings, clients: Clients) -> None:
        self._url = parts.images_url
        self._clients = clients
        self._keys = settings.providers

    def openai(self, url: str | None = None) -> SubmitActivities:
        """Submissions to OpenAI's API of the sandbox, or of a peer at `url`."""
        key = self._keys["openai"].api_key.get_secret_value() if url is None else KEY
        service = openai(self._clients.http, url or self._url, key)
        return SubmitActivities(
            service, self._clients.images, self._clients.memory, self._clients.reports
        )

    def flux(self) -> SubmitActivities:
        """Submissions to FLUX's API of the sandbox."""
        key = self._keys["flux"].api_key.get_secret_value()
        service = flux(self._clients.http, self._url, key)
        return SubmitActivities(
            service, self._clients.images, self._clients.memory, self._clients.reports
        )

    async def breaks(self, kind: Kind) -> None:
        """The sandbox's next submission meets this fault."""
        faults = {"queue": [{"kind": kind}]}
        put = await self._clients.http.put(f"{self._url}/_sandbox/faults", json=faults)
        put.raise_for_status()

    async def paid(self, task: SubmitTask) -> int:
        """How many submissions of this task's generation were paid for."""
        ids = {"correlation_id": str(task.request.correlation_id)}
        calls = await self._clients.http.get(f"{self._url}/_sandbox/calls", params=ids)
        return int(calls.json()["paid"])


@pytest.fixture
def house(parts: LocalStack, worker_settings: Settings, clients: Clients) -> House:
    """The sandbox image service."""
    return House(parts, worker_settings, clients)


@pytest.fixture
def task(asked: GenerationRequested) -> SubmitTask:
    """A submission for a model that the sandbox has, of a generation that nothing was paid for."""
    fresh = asked.model_copy(update={"correlation_id": uuid4()})
    return SubmitTask(request=fresh, route=Route(provider="openai", model="gpt-image-2.5-flare"))


async def test_image_to_store(house: House, clients: Clients, task: SubmitTask) -> None:
    """A submission ends with an image in the store; the result is a reference of few bytes."""
    submitted = await Attempt().run(house.openai().submit, task)
    assert submitted.job is None
    assert submitted.image == await clients.store.find(image_of(task.request))
    assert len(submitted.model_dump_json()) < 400


async def test_job_is_recorded(house: House, task: SubmitTask) -> None:
    """A job's id is with the server before the activity ends, so that no crash can lose it."""
    attempt = Attempt()
    flux = task.model_copy(update={"route": Route(provider="flux", model="flux-2-pro")})
    submitted = await attempt.run(house.flux().submit, flux)
    assert submitted.job is not None
    assert attempt.recorded == [SubmitMark(job=submitted.job)]


async def test_job_in_the_mark(house: House, peer: Peer, task: SubmitTask) -> None:
    """A predecessor that died after its job was accepted has left it: no second call is made."""
    peer.says(answer(500))
    attempt = Attempt(2, [SubmitMark(job=JOB)])
    assert await attempt.run(house.openai(peer.url).submit, task) == Submitted(job=JOB)
    assert peer.received == []


async def test_job_that_the_server_never_learned_of(house: House, task: SubmitTask) -> None:
    """Temporal was away when it was accepted: the process remembers it, and it was no loss."""
    flux = task.model_copy(update={"route": Route(provider="flux", model="flux-2-pro")})
    activities = house.flux()
    away = Attempt(reachable=False)
    with bound(Correlation(task.request.correlation_id, task.request.request_id)):
        made = await away.run(activities.submit, flux)
        again = await Attempt().run(activities.submit, flux)
        assert again == Submitted(job=made.job, recovered=True)
        assert await house.paid(task) == 1
        assert (await Attempt().run(activities.submit, flux)).job != made.job  # once


@pytest.mark.parametrize("left_behind", [[], [SubmitMark()], [SubmitMark(settled=True)]])
async def test_image_in_the_store(
    house: House,
    clients: Clients,
    peer: Peer,
    task: SubmitTask,
    picture: bytes,
    left_behind: list[SubmitMark],
) -> None:
    """A crash after the upload costs nothing: the image that stands there is the result."""
    kept = await stored(clients, image_of(task.request), picture)
    peer.says(answer(500))
    for attempt in (Attempt(), Attempt(3, left_behind)):
        assert await attempt.run(house.openai(peer.url).submit, task) == Submitted(image=kept)
    assert peer.received == []


async def test_answered_refusal_settles(house: House, peer: Peer, task: SubmitTask) -> None:
    """A refusal that was received is settled: the next attempt counts nothing as lost."""
    peer.says(answer(503))
    attempt = Attempt()
    error = await attempt.failure(house.openai(peer.url).submit, task)
    assert (error.type, error.non_retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, False)
    assert attempt.recorded == [SubmitMark(settled=True)]
    again = Attempt(2, attempt.recorded)
    await again.failure(house.openai(peer.url).submit, task)
    assert again.recorded == [SubmitMark(), SubmitMark(settled=True)]


async def test_lost_reply_ends_the_activity(house: House, peer: Peer, task: SubmitTask) -> None:
    """No attempt follows what may have been paid for: the workflow decides about another call."""
    peer.says(raw())
    first = Attempt()
    error = await first.failure(house.openai(peer.url).submit, task)
    assert (error.type, error.non_retryable) == (ErrorCode.OUTCOME_UNKNOWN, True)
    failure = error.details[0]
    assert (failure.perhaps_paid, failure.repeatable, failure.worker_lost) == (1, True, False)
    assert first.recorded == []  # no settled mark: an open submission


async def test_hang_is_lost_as_well(house: House, peer: Peer, task: SubmitTask) -> None:
    """A call that timed out may have been paid for: it is counted like a lost reply."""
    peer.says(hang)
    hurried = submission(task.request, seconds=SHORT)
    error = await Attempt().failure(house.openai(peer.url).submit, hurried)
    assert (error.type, error.non_retryable) == (ErrorCode.PROVIDER_TIMEOUT, True)
    assert (error.details[0].perhaps_paid, error.details[0].repeatable) == (1, True)


@pytest.mark.parametrize("left_behind", [[], [SubmitMark()]])
async def test_after_a_death(
    house: House, peer: Peer, task: SubmitTask, left_behind: list[SubmitMark]
) -> None:
    """A predecessor that died in the call: this activity makes no other one."""
    peer.says(answer(503))
    attempt = Attempt(2, left_behind)
    error = await attempt.failure(house.openai(peer.url).submit, task)
    assert (error.type, error.non_retryable) == (ErrorCode.OUTCOME_UNKNOWN, True)
    failure = error.details[0]
    assert (failure.perhaps_paid, failure.repeatable, failure.worker_lost) == (1, True, True)
    assert peer.received == []


async def test_cut_off_by_the_end_of_the_grace(house: House, peer: Peer, task: SubmitTask) -> None:
    """A worker that must go says so itself: what was under way may have been paid for."""
    peer.says(hang)
    attempt = Attempt(3, [SubmitMark(settled=True)])
    running = asyncio.create_task(attempt.failure(house.openai(peer.url).submit, task))
    await peer.arrived.wait()
    assert attempt.environment is not None
    attempt.environment.cancel(ActivityCancellationDetails(worker_shutdown=True))
    error = await running
    assert (error.type, error.non_retryable) == (ErrorCode.OUTCOME_UNKNOWN, True)
    assert (error.details[0].perhaps_paid, error.details[0].worker_lost) == (1, True)


async def test_canceled_before_it_is_sent(house: House, peer: Peer, task: SubmitTask) -> None:
    """Nothing was sent, and nothing says that something may have been paid for."""
    peer.says(answer(500))
    attempt = Attempt(2, [SubmitMark(settled=True)])
    attempt.answers_canceled = True
    with pytest.raises(asyncio.CancelledError):
        await attempt.run(house.openai(peer.url).submit, task)
    assert peer.received == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.HALF_IMAGE, "INVALID_OUTPUT"),
        (Kind.BOMB, "INVALID_OUTPUT"),
        (Kind.HTML_IMAGE, "INVALID_OUTPUT"),
        (Kind.EMPTY_IMAGE, "INVALID_OUTPUT"),
        (Kind.WRONG_SIZE, "MODEL_CONFIG"),  # whole, and the next one would be the same
    ],
)
async def test_no_image_in_the_reply(
    house: House, clients: Clients, task: SubmitTask, kind: Kind, code: str
) -> None:
    """What should be an image and is none is not stored; another call may bring one."""
    await house.breaks(kind)
    error = await Attempt().failure(house.openai().submit, task)
    assert (error.type, error.non_retryable) == (code, True)
    failure = error.details[0]
    assert (failure.perhaps_paid, failure.repeatable) == (1, code != ErrorCode.MODEL_CONFIG)
    assert await clients.store.find(image_of(task.request)) is None


@pytest.mark.parametrize(
    ("kind", "code"),
    [(Kind.MODERATED_INPUT, "POLICY_INPUT"), (Kind.MODERATED_OUTPUT, "POLICY_OUTPUT")],
)
async def test_moderated(house: House, task: SubmitTask, kind: Kind, code: str) -> None:
    """A user's error is final, and an expected answer rather than noise in the worker's log."""
    await house.breaks(kind)
    error = await Attempt().failure(house.openai().submit, task)
    assert (error.type, error.non_retryable, error.category.name) == (code, True, "BENIGN")
    failure = error.details[0]
    assert failure.code == code
    assert "safety system" in failure.detail
    assert "safety system" not in failure.user_message


async def test_unknown_model(house: House, task: SubmitTask) -> None:
    """A model that the service does not have is our setting's fault, at once."""
    other = task.model_copy(update={"route": Route(provider="openai", model="dall-e-3")})
    error = await Attempt().failure(house.openai().submit, other)
    assert (error.type, error.non_retryable) == (ErrorCode.MODEL_CONFIG, True)
