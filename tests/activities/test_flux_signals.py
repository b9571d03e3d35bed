"""Every signal of FLUX over real HTTP: submit, poll, fetch."""

import codecs
import json
from typing import Any

import httpx
import pytest

from activities.providers.service import JobProgress
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Job
from tests.activities.http_peer import (
    Peer,
    Reply,
    answer,
    chunked,
    drip,
    hang,
    html,
    raw,
    refusing_url,
    reset,
)
from tests.activities.provider_calls import SHORT, at_once, collection, flux, refusal, submission

STATUSES: dict[str, tuple[Reply, str]] = {
    "400": (answer(400, {"detail": "bad"}), "INVALID_INPUT"),
    "402 credit": (answer(402, {"detail": "Insufficient credits"}), "QUOTA_EXHAUSTED"),
    "403 key": (answer(403, {"detail": "Not authenticated"}), "AUTH_CONFIG"),
    "422": (answer(422, {"detail": [{"loc": ["body", "width"], "msg": "x"}]}), "INVALID_INPUT"),
    "429": (answer(429, {"detail": "24 tasks at most"}, {"retry-after": "3"}), "RATE_LIMITED"),
    "500": (answer(500), "PROVIDER_UNAVAILABLE"),
    "503": (html(503), "PROVIDER_UNAVAILABLE"),
    "504": (answer(504), "PROVIDER_TIMEOUT"),
    "301": (answer(301, "", {"location": "http://example.com/"}), "MODEL_CONFIG"),
}

WITHOUT_JOB: dict[str, tuple[Reply, str]] = {
    "closed without an answer": (raw(), "OUTCOME_UNKNOWN"),
    "reset": (reset, "OUTCOME_UNKNOWN"),
    "cut off": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), "OUTCOME_UNKNOWN"),
    "hang": (hang, "PROVIDER_TIMEOUT"),
    "drip": (drip, "PROVIDER_TIMEOUT"),
    "page": (html(200), "INVALID_OUTPUT"),
    "nothing": (answer(200), "INVALID_OUTPUT"),
    "no polling_url": (answer(200, {"id": "j-1"}), "INVALID_OUTPUT"),
    "no id": (answer(200, {"polling_url": "http://127.0.0.1/"}), "INVALID_OUTPUT"),
    "empty id": (
        answer(200, {"id": "", "polling_url": "http://127.0.0.1/"}),
        "INVALID_OUTPUT",
    ),
    "polling_url is none": (
        answer(200, {"id": "j-1", "polling_url": "http://999.1.1.1/"}),
        "INVALID_OUTPUT",
    ),
    "polling_url of another kind": (
        answer(200, {"id": "j-1", "polling_url": "file:///etc/passwd"}),
        "INVALID_OUTPUT",
    ),
}


@pytest.mark.parametrize(("reply", "code"), STATUSES.values(), ids=STATUSES)
async def test_submission_refused(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, reply: Reply, code: str
) -> None:
    """A refused submission has its code; it is not paid for, unless the answer is a proxy's."""
    peer.says(reply)
    error = await refusal(flux(http, peer.url).submit(submission(asked), at_once))
    paid = code == ErrorCode.PROVIDER_TIMEOUT
    assert (error.failure.code, bool(error.perhaps_paid)) == (code, paid)
    assert error.retry_after == (3 if code == ErrorCode.RATE_LIMITED else None)


@pytest.mark.parametrize(("reply", "code"), WITHOUT_JOB.values(), ids=WITHOUT_JOB)
async def test_submission_without_reply(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, reply: Reply, code: str
) -> None:
    """A submission whose job we do not know may have been paid for, and says so."""
    peer.says(reply)
    seconds = SHORT if code == ErrorCode.PROVIDER_TIMEOUT else 30
    task = submission(asked, seconds=seconds)
    error = await refusal(flux(http, peer.url).submit(task, at_once))
    assert (error.failure.code, error.perhaps_paid) == (code, True)
    assert len(peer.received) == 1


async def test_refused_connection(http: httpx.AsyncClient, asked: GenerationRequested) -> None:
    """No server listens: nothing was sent, so nothing can have been paid."""
    error = await refusal(flux(http, refusing_url()).submit(submission(asked), at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.PROVIDER_UNAVAILABLE, None)


async def test_reply_without_end(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """A reply of megabytes where an id should be is cut off."""
    peer.says(chunked(b" " * 2_000_000))
    error = await refusal(flux(http, peer.url).submit(submission(asked), at_once))
    assert error.failure.code is ErrorCode.INVALID_OUTPUT


async def test_hint_for_the_user(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """A refused field is named to the user."""
    peer.says(STATUSES["422"][0])
    error = await refusal(flux(http, peer.url).submit(submission(asked), at_once))
    assert error.failure.hint == "Check: width."


async def test_a_model_that_knows_ratios_alone(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """`size_by = "aspect_ratio"`: the ratio in the place of width and height."""
    peer.says(answer(503))
    task = submission(asked)
    route = task.route.model_copy(update={"size_by": "aspect_ratio"})
    await refusal(flux(http, peer.url).submit(task.model_copy(update={"route": route}), at_once))
    [received] = peer.received
    assert received.json["aspect_ratio"] == asked.aspect_ratio
    assert not {"width", "height"} & set(received.json)


async def test_accepted(http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested) -> None:
    """An accepted submission is a job with the service's own polling_url."""
    url = f"{peer.url}/v1/get_result?id=j-1"
    peer.says(answer(200, {"id": "j-1", "polling_url": url, "cost": 4}))
    job = await flux(http, peer.url).submit(submission(asked), at_once)
    assert job == Job(id="j-1", polling_url=url)


async def test_a_byte_order_mark(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """One before an answer costs no job: neither when it is accepted nor when it is ready."""
    url = f"{peer.url}/v1/get_result?id=j-1"
    accepted = {"id": "j-1", "polling_url": url}
    peer.says(answer(200, codecs.BOM_UTF8 + json.dumps(accepted).encode()))
    assert (await flux(http, peer.url).submit(submission(asked), at_once)).id == "j-1"
    ready = {"status": "Ready", "result": {"sample": f"{peer.url}/a.png"}}
    peer.says(answer(200, codecs.BOM_UTF8 + json.dumps(ready).encode()))
    progress = await flux(http, peer.url).poll(collection(asked, url))
    assert progress.result_url == f"{peer.url}/a.png"


def status(word: str, **more: Any) -> Reply:
    """A poll's answer."""
    return answer(200, {"id": "j-1", "status": word, "result": None, **more})


@pytest.mark.parametrize(
    ("reply", "progress"),
    [
        (status("Pending"), JobProgress()),
        (status("Pending", progress=0.25), JobProgress(percent=25)),
        (status("Pending", progress=80), JobProgress(percent=80)),
        (status("Pending", progress=1), JobProgress(percent=100)),
        (status("Pending", progress=-3), JobProgress()),
        (status("Pending", progress=101), JobProgress()),
        (answer(200, b'{"status": "Pending", "progress": NaN}'), JobProgress()),
        (status("Something new"), JobProgress()),
        (
            status("Ready", result={"sample": "http://example.com/a.png", "seed": 1}),
            JobProgress(result_url="http://example.com/a.png"),
        ),
    ],
)
async def test_poll(
    http: httpx.AsyncClient,
    peer: Peer,
    asked: GenerationRequested,
    reply: Reply,
    progress: JobProgress,
) -> None:
    """A poll says how far the job is, or where its image lies."""
    peer.says(reply)
    assert await flux(http, peer.url).poll(collection(asked, f"{peer.url}/poll")) == progress


POLLED: dict[str, tuple[Reply, str]] = {
    **STATUSES,
    # What a poll asks for is neither the user's nor our settings' fault.
    **{name: (STATUSES[name][0], "PROVIDER_UNAVAILABLE") for name in ("301", "400", "422")},
    "Error": (status("Error"), "PROVIDER_UNAVAILABLE"),
    "Failed": (status("Failed"), "PROVIDER_UNAVAILABLE"),
    "Request Moderated": (status("Request Moderated"), "POLICY_INPUT"),
    "Content Moderated": (status("Content Moderated"), "POLICY_OUTPUT"),
    "Task not found": (status("Task not found"), "JOB_LOST"),
    "Task not found, 404": (answer(404, {"status": "Task not found"}), "JOB_LOST"),
    "404 alone": (answer(404), "JOB_LOST"),
    "Ready without a result": (status("Ready"), "INVALID_OUTPUT"),
    "Ready without a sample": (status("Ready", result={}), "INVALID_OUTPUT"),
    "no status": (answer(200, {"id": "j-1"}), "INVALID_OUTPUT"),
    "a number for a status": (answer(200, {"status": 7}), "INVALID_OUTPUT"),
    "a list": (answer(200, [1]), "INVALID_OUTPUT"),
    "page": (html(200), "INVALID_OUTPUT"),
    "nothing": (answer(200), "INVALID_OUTPUT"),
    "closed": (raw(), "OUTCOME_UNKNOWN"),
    "reset": (reset, "OUTCOME_UNKNOWN"),
    "too large": (chunked(b" " * 2_000_000), "INVALID_OUTPUT"),
}


@pytest.mark.parametrize(("reply", "code"), POLLED.values(), ids=POLLED)
async def test_poll_refused(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, reply: Reply, code: str
) -> None:
    """What a poll can end with has its code."""
    peer.says(reply)
    error = await refusal(flux(http, peer.url).poll(collection(asked, f"{peer.url}/poll")))
    assert error.failure.code == code


async def test_poll_that_hangs(
    http: httpx.AsyncClient,
    peer: Peer,
    asked: GenerationRequested,
) -> None:
    """A poll that hangs is an outage, and does not wait for as long as an image may take."""
    peer.says(hang)
    task = collection(asked, f"{peer.url}/poll", seconds=3_600)
    error = await refusal(flux(http, peer.url, poll_timeout_seconds=SHORT).poll(task))
    assert error.failure.code is ErrorCode.PROVIDER_TIMEOUT


async def test_moderation_details_are_the_operators(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """The operator reads why a job was moderated; the user is asked to rephrase."""
    peer.says(status("Request Moderated", details={"Moderation Reasons": ["Derivative"]}))
    error = await refusal(flux(http, peer.url).poll(collection(asked, f"{peer.url}/poll")))
    assert "Derivative" in error.failure.detail
    assert "Derivative" not in error.failure.user_message


FETCHED: dict[str, tuple[Reply, str]] = {
    "403": (answer(403, "Signed expiry time"), "RESULT_EXPIRED"),
    "404": (answer(404), "RESULT_EXPIRED"),
    "410": (answer(410), "RESULT_EXPIRED"),
    "500": (answer(500), "PROVIDER_UNAVAILABLE"),
    "429": (answer(429), "RATE_LIMITED"),
    "301": (answer(301, "", {"location": "http://example.com/"}), "MODEL_CONFIG"),
    "closed": (raw(), "OUTCOME_UNKNOWN"),
    "cut off": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n\x89PNG"), "OUTCOME_UNKNOWN"),
    "hang": (hang, "PROVIDER_TIMEOUT"),
    "drip": (drip, "PROVIDER_TIMEOUT"),
    "announced too large": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n\x89PNG"),
        "INVALID_OUTPUT",
    ),
}


@pytest.mark.parametrize(("reply", "code"), FETCHED.values(), ids=FETCHED)
async def test_fetch_refused(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, reply: Reply, code: str
) -> None:
    """What can be wrong with a result has its code."""
    peer.says(reply)
    seconds = SHORT if code == ErrorCode.PROVIDER_TIMEOUT else 30
    task = collection(asked, f"{peer.url}/poll", seconds=seconds)
    error = await refusal(flux(http, peer.url).fetch(task, f"{peer.url}/a.png", at_once))
    assert error.failure.code == code


@pytest.mark.parametrize(
    "url", ["", "/a.png", "file:///etc/passwd", "http://", "http://999.1.1.1/", "\0"]
)
async def test_result_that_is_no_link(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, url: str
) -> None:
    """A result that is no link is no image."""
    task = collection(asked, f"{peer.url}/poll")
    error = await refusal(flux(http, peer.url).fetch(task, url, at_once))
    assert error.failure.code is ErrorCode.INVALID_OUTPUT


async def test_fetch(http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested) -> None:
    """The image's bytes come as they are, and its host never sees the key."""
    peer.says(answer(200, b"\x89PNG and so on"))
    task = collection(asked, f"{peer.url}/poll")
    data = await flux(http, peer.url).fetch(task, f"{peer.url}/a.png?sig=1", at_once)
    assert data == b"\x89PNG and so on"
    assert peer.received[0].path == "/a.png?sig=1"
    assert "x-key" not in peer.received[0].headers


async def test_submission_on_the_wire(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """FLUX is sent what it knows, and the route's parameters win; what is not set is left out."""
    peer.says(answer(200, {"id": "j-1", "polling_url": f"{peer.url}/poll"}))
    task = submission(asked, safety_tolerance=2, output_format="jpeg", seed=None)
    await flux(http, peer.url + "/").submit(task, at_once)
    received = peer.received[0]
    assert (received.method, received.path) == ("POST", "/v1/m-1")
    assert json.loads(received.body) == {
        "prompt": asked.prompt,
        "width": 128,
        "height": 96,
        "output_format": "jpeg",
        "safety_tolerance": 2,
    }
