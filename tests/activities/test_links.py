"""Where a link in an answer may lead, who gets the key, and what is repeated of what is there."""

import gzip
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from activities.errors import ProviderError
from activities.images import Wanted, check_image
from activities.providers.flux import FluxSettings
from activities.providers.links import LinkError, Links
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from peers.clients import public_client
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

SECRET = "root:x:0:0: AKIAIOSFODNN7EXAMPLE"
"""What stands at an address that is nobody's business."""


async def test_polling_another_port(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested
) -> None:
    """The same host at another port is another service: it does not get the key."""
    foreign.says(answer(200, {"status": "Pending"}))
    error = await refusal(flux(http, peer.url).poll(collection(asked, f"{foreign.url}/poll")))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.MODEL_CONFIG, True)
    assert foreign.received == []


async def test_submission_names_another_port(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested
) -> None:
    """A job at another port is refused when it is submitted."""
    peer.says(answer(200, {"id": "j-1", "polling_url": f"{foreign.url}/poll"}))
    error = await refusal(flux(http, peer.url).submit(submission(asked), at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.MODEL_CONFIG, True)


async def test_a_listed_job_in_the_private_network(
    http: httpx.AsyncClient, foreign: Peer, asked: GenerationRequested
) -> None:
    """A listed host whose name leads to this machine does not get the key."""
    foreign.says(answer(200, {"status": "Pending"}))
    service = flux(http, "http://127.0.0.1:1", job_hosts=(f"localhost:{foreign.port}",))
    task = collection(asked, f"http://localhost:{foreign.port}/poll")
    error = await refusal(service.poll(task))
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert "private_links" in error.failure.detail
    assert foreign.received == []


async def linked(
    service: str,
    http: httpx.AsyncClient,
    peer: Peer,
    asked: GenerationRequested,
    link: str,
    **settings: Any,
) -> bytes:
    """The image behind a link that an adapter was answered with by `peer`."""
    if service == "flux":
        adapter = flux(http, peer.url, **settings)
        return await adapter.fetch(collection(asked, f"{peer.url}/poll"), link, at_once)
    peer.says(answer(200, {"data": [{"url": link}]}), *peer.script)
    return await openai(http, peer.url, **settings).submit(submission(asked), at_once)


both = pytest.mark.parametrize("service", ["flux", "openai"])


@both
async def test_a_result_elsewhere(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested, service: str
) -> None:
    """A host that is not listed is not called; the error names the setting."""
    foreign.says(answer(200, SECRET))
    error = await refusal(linked(service, http, peer, asked, f"{foreign.url}/a.png"))
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert "result_hosts" in error.failure.detail
    assert foreign.received == []


@both
async def test_a_listed_result_in_the_private_network(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested, service: str
) -> None:
    """A listed host whose name leads to this machine is not called; the error names the setting."""
    foreign.says(answer(200, SECRET))
    link, hosts = f"http://localhost:{foreign.port}/", (f"localhost:{foreign.port}",)
    error = await refusal(linked(service, http, peer, asked, link, result_hosts=hosts))
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert "private_links" in error.failure.detail
    assert foreign.received == []


@both
async def test_a_listed_result_that_may_be_private(
    http: httpx.AsyncClient,
    peer: Peer,
    foreign: Peer,
    asked: GenerationRequested,
    picture: bytes,
    service: str,
) -> None:
    """It is fetched, and does not get the key."""
    foreign.says(answer(200, picture))
    link, hosts = f"http://localhost:{foreign.port}/", (f"localhost:{foreign.port}",)
    settings = {"result_hosts": hosts, "private_links": True}
    assert await linked(service, http, peer, asked, link, **settings) == picture
    assert KEY not in str(foreign.received[0].headers)


@both
async def test_a_result_that_is_redirected(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested, service: str
) -> None:
    """A redirect is not followed, wherever it leads."""
    foreign.says(answer(200, SECRET))
    peer.says(answer(302, "", {"location": f"{foreign.url}/"}))
    await refusal(linked(service, http, peer, asked, f"{peer.url}/a.png"))
    assert foreign.received == []


FOUND: dict[str, Reply] = {
    "refused": answer(403, SECRET),
    "an error with a message": answer(500, {"error": {"message": SECRET}, "detail": SECRET}),
    "a code": answer(400, {"error": {"code": SECRET, "param": SECRET}}),
    "its headers": answer(404, "", {"content-type": SECRET, "x-request-id": SECRET}),
    "no HTTP": raw(f"SSH-2.0-{SECRET}\r\n".encode()),
    "no gzip": answer(200, SECRET, {"content-encoding": "gzip"}),
    "packed too often": answer(200, gzip.compress(SECRET.encode()), {"content-encoding": SECRET}),
}


@both
@pytest.mark.parametrize("name", FOUND)
async def test_nothing_is_quoted(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, service: str, name: str
) -> None:
    """What was found behind a link is in no text, whatever it is."""
    peer.says(FOUND[name])
    error = await refusal(linked(service, http, peer, asked, f"{peer.url}/a.png"))
    said = f"{error} {error.failure!r}".lower()
    assert not any(piece.lower() in said for piece in SECRET.split())


@pytest.mark.parametrize("data", [SECRET.encode(), b"\x89PNG\r\n\x1a\n" + SECRET.encode() * 9])
def test_nothing_of_what_is_no_image(data: bytes) -> None:
    """Nor of what was fetched and is no image; decoders like to quote it."""
    with pytest.raises(ProviderError) as caught:
        check_image(data, Wanted("png", (128, 96)))
    said = f"{caught.value} {caught.value.failure!r}"
    assert not any(piece in said for piece in SECRET.replace(":", " ").split() if len(piece) > 1)


def followed(link: str, base: str, *hosts: str) -> str:
    """Whether a link is followed, by which client, or the code of why it is not."""
    named, public = httpx.AsyncClient(), public_client()
    links = Links(base, named, public, hosts, setting="result_hosts", private=False)
    try:
        return "named" if links._client_for(link) is named else "public"
    except LinkError as error:
        return error.code


BFL, LISTED = "https://api.bfl.ai", ("*.bfl.ai", "cdn.example.com", "s3.example.com:9000")


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://api.bfl.ai/a.png?sig=1", "named"),
        ("https://api.bfl.ai:443/a.png", "named"),
        ("https://API.BFL.AI/a.png", "named"),
        ("https://delivery-us1.bfl.ai/results/a.png?se=1", "public"),
        ("https://a.b.bfl.ai/a.png", "public"),
        ("https://cdn.example.com/a.png", "public"),
        ("https://s3.example.com:9000/a.png", "public"),
        ("https://api.bfl.ai:8443/a.png", "MODEL_CONFIG"),
        ("https://delivery-us1.bfl.ai:8443/a.png", "MODEL_CONFIG"),
        ("http://api.bfl.ai/a.png", "MODEL_CONFIG"),
        ("http://delivery-us1.bfl.ai/a.png", "MODEL_CONFIG"),
        ("https://bfl.ai/a.png", "MODEL_CONFIG"),
        ("https://evilbfl.ai/a.png", "MODEL_CONFIG"),
        ("https://a.bfl.ai.evil.example/a.png", "MODEL_CONFIG"),
        ("https://a.bfl.ai./a.png", "MODEL_CONFIG"),
        ("https://evil.example/?.bfl.ai", "MODEL_CONFIG"),
        ("https://evil.example#.bfl.ai", "MODEL_CONFIG"),
        ("https://a.bfl.ai@evil.example/", "MODEL_CONFIG"),
        ("https://evil.example\\.bfl.ai/", "INVALID_OUTPUT"),
        ("https://evil.example\\@a.bfl.ai/", "INVALID_OUTPUT"),
        ("https://user:pass@cdn.example.com/a.png", "INVALID_OUTPUT"),
        ("https://s3.example.com/a.png", "MODEL_CONFIG"),
        ("https://cdn.example.com:9000/a.png", "MODEL_CONFIG"),
        ("https://169.254.169.254/latest/meta-data", "MODEL_CONFIG"),
        ("https://[::1]/a.png", "MODEL_CONFIG"),
        ("https://ⓑfl.ai/", "INVALID_OUTPUT"),
        ("//cdn.example.com/a.png", "INVALID_OUTPUT"),
        ("ftp://cdn.example.com/a.png", "INVALID_OUTPUT"),
        ("https:///a.png", "INVALID_OUTPUT"),
        ("https://cdn.example.com:99999/a.png", "MODEL_CONFIG"),
        ("", "INVALID_OUTPUT"),
        ("https://" + "a" * 70_000, "INVALID_OUTPUT"),
    ],
)
def test_where_a_link_may_lead(link: str, expected: str) -> None:
    """Scheme, host and port are compared as the client reads them that would call."""
    assert followed(link, BFL, *LISTED) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("http://10.0.0.5:7000/a.png", "named"),
        ("http://10.0.0.5/a.png", "MODEL_CONFIG"),
        ("https://10.0.0.5:7000/a.png", "MODEL_CONFIG"),
        ("http://[fd00::1]:9000/a.png", "public"),
        ("http://cdn.example.com/a.png", "public"),
        ("https://cdn.example.com/a.png", "public"),
    ],
)
def test_from_a_server_of_ones_own(link: str, expected: str) -> None:
    """A server without TLS may lead to others without; its own address may be private."""
    assert (
        followed(link, "http://10.0.0.5:7000/v1", "cdn.example.com", "[fd00::1]:9000") == expected
    )


@pytest.mark.parametrize("rule", ["cdn.example.com", "CDN.example.com:9000", "*.x.y", "[::1]:9000"])
def test_rules(rule: str) -> None:
    """Hosts with and without a port, and all below a domain."""
    settings = FluxSettings(kind="flux", base_url=BFL, api_key=KEY, result_hosts=(rule,))
    assert settings.result_hosts == (rule.lower(),)


@pytest.mark.parametrize(
    "rule", ["", "*", "*.", "*:443", "https://a.b", "a.b/c", "a.*.b", "a.b:0", "a.b:70000", "a b"]
)
def test_rules_that_are_none(rule: str) -> None:
    """They are refused with a text that says what is expected."""
    with pytest.raises(ValidationError, match=r"host, host:port or \*\.domain"):
        FluxSettings(kind="flux", base_url=BFL, api_key=KEY, result_hosts=(rule,))


def test_without_settings_images_come_from_bfl_itself() -> None:
    """The hosts from which it delivers today are below its domain."""
    assert FluxSettings(kind="flux", base_url=BFL, api_key=KEY).result_hosts == ("*.bfl.ai",)
