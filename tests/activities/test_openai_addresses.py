"""Where an OpenAI server is asked, with which key, and where a link in its answer may lead."""

import asyncio

import httpx
import pytest

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from tests.activities.http_peer import Peer, Received, Reply, answer, drip, hang
from tests.activities.provider_calls import KEY, SHORT, at_once, openai, refusal, submission


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/images/generations"),
        ("/", "/v1/images/generations"),
        ("/v1", "/v1/images/generations"),
        ("/v1/", "/v1/images/generations"),
        ("/openai/v1", "/openai/v1/images/generations"),
        (
            "/openai/deployments/img?api-version=2024-02-01",
            "/openai/deployments/img/images/generations?api-version=2024-02-01",
        ),
    ],
)
async def test_addresses(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, base: str, path: str
) -> None:
    """With or without /v1, and Azure's, whose version is in the query."""
    peer.says(answer(503))
    await refusal(openai(http, peer.url + base).submit(submission(asked), at_once))
    assert [each.path for each in peer.received] == [path]


async def test_the_key_as_azure_wants_it(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """`key_header = "api-key"` sends the key alone."""
    peer.says(answer(503))
    service = openai(http, peer.url, key_header="api-key")
    await refusal(service.submit(submission(asked), at_once))
    [received] = peer.received
    assert received.headers["api-key"] == KEY
    assert "authorization" not in received.headers


async def test_a_link_of_its_own(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, picture: bytes
) -> None:
    """A server that answers with links is asked for the image: at its own host, without the key."""
    link = {"data": [{"b64_json": None, "url": f"{peer.url}/files/a.png"}]}
    peer.says(answer(200, link), answer(200, picture))
    assert await openai(http, peer.url).submit(submission(asked), at_once) == picture
    fetched = peer.received[1]
    assert (fetched.method, fetched.path) == ("GET", "/files/a.png")
    assert "authorization" not in fetched.headers


async def test_a_link_that_fails(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """The image was made, and is paid for, whatever becomes of the link."""
    peer.says(answer(200, {"data": [{"url": f"{peer.url}/files/a.png"}]}), answer(404))
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.RESULT_EXPIRED, True)


async def test_a_link_that_nobody_serves_any_more(
    http: httpx.AsyncClient, asked: GenerationRequested
) -> None:
    """The server is gone after its answer: the image was made, and is paid for."""
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]

    async def last_words(
        received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        server.close()
        link = {"data": [{"url": f"{peer.url}/files/a.png"}]}
        await answer(200, link)(received, reader, writer)

    peer.says(last_words)
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.PROVIDER_UNAVAILABLE, True)


@pytest.mark.parametrize("reply", [hang, drip])
async def test_a_link_has_the_time_that_is_left(
    http: httpx.AsyncClient,
    peer: Peer,
    asked: GenerationRequested,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
) -> None:
    """The call and the link together have the route's time, and a link some seconds at least."""
    monkeypatch.setattr("activities.providers.openai.LEAST_LINK_SECONDS", SHORT)
    peer.says(answer(200, {"data": [{"url": f"{peer.url}/files/a.png"}]}), reply)
    task = submission(asked, seconds=SHORT)
    error = await refusal(openai(http, peer.url).submit(task, at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.PROVIDER_TIMEOUT, True)


async def test_a_link_elsewhere(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested
) -> None:
    """Another host is not asked; the error says what to set."""
    peer.says(answer(200, {"data": [{"url": f"{foreign.url}/files/a.png"}]}))
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.MODEL_CONFIG, True)
    assert "response_format" in error.failure.detail
    assert foreign.received == []
