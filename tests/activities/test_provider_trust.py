"""What others may see: the key goes to its service alone, the ids go to everybody."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Job
from tests.activities.http_peer import Peer, Reply, answer, raw
from tests.activities.provider_calls import (
    KEY,
    at_once,
    collection,
    flux,
    openai,
    refusal,
    submission,
)

READY = answer(200, {"status": "Pending"})


@pytest.mark.parametrize(
    "place", ["http://localhost:{port}/poll", "http://127.0.0.1@localhost:{port}/poll"]
)
async def test_polling_elsewhere(
    http: httpx.AsyncClient, foreign: Peer, asked: GenerationRequested, place: str
) -> None:
    """A polling_url at another host is not called at all, so the key never gets there."""
    foreign.says(READY)
    service = flux(http, "http://127.0.0.1:1")
    task = collection(asked, place.format(port=foreign.port))
    error = await refusal(service.poll(task))
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert "job_hosts" in error.failure.detail
    assert foreign.received == []


async def test_submission_names_another_host(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested
) -> None:
    """A job at another host is refused when it is submitted, as one that may have been paid."""
    url = f"http://localhost:{foreign.port}/poll"
    peer.says(answer(200, {"id": "j-1", "polling_url": url}))
    foreign.says(READY)
    error = await refusal(flux(http, peer.url).submit(submission(asked), at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.MODEL_CONFIG, True)
    assert foreign.received == []


async def test_named_host(
    http: httpx.AsyncClient, foreign: Peer, asked: GenerationRequested
) -> None:
    """A host that the settings name is asked, with the key."""
    foreign.says(READY)
    hosts = (f"localhost:{foreign.port}",)
    service = flux(http, "http://127.0.0.1:1", job_hosts=hosts, private_links=True)
    await service.poll(collection(asked, f"http://localhost:{foreign.port}/poll"))
    assert foreign.received[0].headers["x-key"] == KEY


async def test_poll_redirected_elsewhere(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested
) -> None:
    """A redirect of a poll is not followed: the key stays here."""
    peer.says(answer(302, "", {"location": f"http://localhost:{foreign.port}/"}))
    foreign.says(READY)
    error = await refusal(flux(http, peer.url).poll(collection(asked, f"{peer.url}/poll")))
    assert error.failure.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert foreign.received == []


@pytest.mark.parametrize(
    ("base", "polling_url", "trusted"),
    [
        ("https://api.bfl.ai", "https://api.bfl.ai/v1/get_result?id=1", True),
        ("https://api.bfl.ai", "https://api.us1.bfl.ai/v1/get_result?id=1", True),
        ("https://api.bfl.ai", "https://API.BFL.AI/v1/get_result?id=1", True),
        ("https://api.bfl.ai", "http://api.bfl.ai/v1/get_result?id=1", False),
        ("https://api.bfl.ai", "https://api.bfl.ai.example.com/", False),
        ("https://api.bfl.ai", "https://evilbfl.ai/", False),
        ("https://api.bfl.ai", "https://example.com/?api.bfl.ai", False),
        ("https://api.bfl.ai", "https://api.bfl.ai\\@example.com/", False),
        ("https://bfl.ai", "https://example.ai/", False),
        ("http://192.168.1.10", "http://10.168.1.10/", False),
        ("http://localhost", "http://example.com/", False),
    ],
)
async def test_whose_host_is_trusted(
    asked: GenerationRequested, base: str, polling_url: str, *, trusted: bool
) -> None:
    """The service's own host and its siblings get the key; addresses have no siblings."""

    def accept(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body())

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps({"id": "j-1", "polling_url": polling_url}).encode()

    async with httpx.AsyncClient(transport=httpx.MockTransport(accept)) as client:
        service = flux(client, base)
        if trusted:
            job = await service.submit(submission(asked), at_once)
            assert job == Job(id="j-1", polling_url=polling_url)
        else:
            error = await refusal(service.submit(submission(asked), at_once))
            assert error.perhaps_paid


def echo(status: int, text: str) -> Reply:
    """An answer that quotes the key."""
    return answer(status, text, {"content-type": "text/html"})


@pytest.mark.parametrize(
    "reply",
    [
        answer(401, {"error": {"code": "invalid_api_key", "message": f"no such key: {KEY}"}}),
        answer(400, {"error": {"code": KEY, "message": KEY, "param": KEY}}),
        answer(400, {"error": {"code": "invalid_value", "param": "k_" + KEY.replace("-", "_")}}),
        answer(422, {"detail": f"Authorization: Bearer {KEY}"}),
        answer(400, {"error": {"code": "invalid_value", "message": "x" * 900 + KEY * 9}}),
        echo(200, f"<p>Bearer {KEY}</p>"),
        echo(500, "x" * 145 + KEY),
        answer(429, "", {"x-request-id": KEY}),
        raw(f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n{KEY}".encode()),
        raw(f"{KEY}\r\n".encode()),
    ],
)
async def test_echoed_key(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, reply: Reply
) -> None:
    """A service that quotes the key does not bring it into history, not even a piece of it."""
    peer.says(reply)
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert KEY[:8] not in f"{error} {error.failure!r}"


async def test_key_as_a_parameter(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """A key that looks like a field's name is not shown to the user as the field to check."""
    peer.says(answer(400, {"error": {"code": "invalid_value", "param": "secret_key_0123456789"}}))
    service = openai(http, peer.url, key="secret_key_0123456789")
    error = await refusal(service.submit(submission(asked), at_once))
    assert error.failure.hint is None


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX-Evil: 1", f"{KEY}ü"])
async def test_key_that_no_header_may_hold(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, key: str
) -> None:
    """A key with a line break is a wrong setting, is not sent and not quoted."""
    peer.says(READY)
    for service in (openai(http, peer.url, key=key), flux(http, peer.url, key=key)):
        error = await refusal(service.submit(submission(asked), at_once))
        assert (error.failure.code, error.perhaps_paid) == (ErrorCode.AUTH_CONFIG, None)
    assert peer.received == []


@pytest.mark.usefixtures("correlated")
async def test_ids_go_with_every_call(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """X-Correlation-ID and a traceparent of the same trace id go with each call to a service."""
    peer.says(
        answer(500),
        answer(200, {"id": "j-1", "polling_url": f"{peer.url}/poll"}),
        READY,
        answer(200, b"\x89PNG"),
    )
    await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    service, task = flux(http, peer.url), collection(asked, f"{peer.url}/poll")
    await service.submit(submission(asked), at_once)
    await service.poll(task)
    await service.fetch(task, f"{peer.url}/a.png", at_once)
    assert len(peer.received) == 4
    for received in peer.received:
        assert received.headers["x-correlation-id"] == str(asked.correlation_id)
        version, trace_id, span_id, flags = received.headers["traceparent"].split("-")
        assert (version, trace_id, flags) == ("00", asked.correlation_id.hex, "01")
        assert len(span_id) == 16


async def test_openai_on_the_wire(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """OpenAI is sent what it takes; fields it refuses go only to servers of one's own."""
    peer.says(answer(500))
    await refusal(openai(http, peer.url).submit(submission(asked, quality="high"), at_once))
    own = openai(http, peer.url, diffusion_fields=True)
    await refusal(own.submit(submission(asked, seed=1), at_once))
    first, second = peer.received
    assert (first.method, first.path) == ("POST", "/v1/images/generations")
    assert first.headers["authorization"] == f"Bearer {KEY}"
    plain = {"prompt": asked.prompt, "model": "m-1", "n": 1, "size": "128x96"}
    assert first.json == plain | {"quality": "high"}
    assert second.json == plain | {
        "negative_prompt": "people",
        "num_inference_steps": 20,
        "guidance_scale": 6.5,
        "seed": 1,
    }
