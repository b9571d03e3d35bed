"""`deploy/nginx/duragen.conf` in a real nginx: what passes, and what does not."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.local.nginx import filled
from deploy.local.sandbox.serving import HOST
from starter.gateway.developers.callers import MAX_BODY_BYTES
from tests.activities.http_peer import answer
from tests.system.front import (
    HOSTED,
    NO_LIMITS,
    PATIENCE_SECONDS,
    POST,
    Front,
    assert_problem,
    ended,
    fronting,
)

KEY = "a" * 40


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """One for all that has no limit of its own to meet."""
    async with fronting(tmp_path_factory.mktemp("front"), NO_LIMITS) as front:
        yield front


@pytest.fixture
def front(shared: Front) -> Front:
    """The same, with peers that have met nobody."""
    for peer in (shared.gateway, shared.odoo):
        peer.says(answer(200, {"here": "I am"}))
    return shared


# What passes ------------------------------------------------------------------------------------


async def test_headers_arrive_as_they_came(front: Front) -> None:
    """Ids, key and wishes; who called and how is nginx' to say, whatever the caller claims."""
    own = {
        "Authorization": f"Bearer {KEY}",
        "X-Correlation-ID": "9b2f6b1e-8f4d-4c7e-9b39-6c8a2f1d7e05",
        "traceparent": "00-9b2f6b1e8f4d4c7e9b396c8a2f1d7e05-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
        "Idempotency-Key": "order-1",
        "Prefer": "wait=60",
        "Cancel-After": "5m",
    }
    claimed = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "for=10.0.0.1;host=evil.example",
    }
    sent = await front.http.post(
        "/v1/generate?a=%2F&a=..", json={"prompt": "ü"}, headers={**own, **claimed}
    )
    assert (sent.status_code, sent.json()) == (200, {"here": "I am"})
    [seen] = front.gateway.received
    assert (seen.method, seen.path, seen.json) == (
        *("POST", "/v1/generate?a=%2F&a=.."),
        {"prompt": "ü"},
    )
    assert {name: seen.headers[name.lower()] for name in own} == own
    assert {name: seen.headers.get(name.lower()) for name in claimed} == {
        "X-Forwarded-For": HOST,
        "X-Forwarded-Host": HOST,
        "X-Forwarded-Proto": "https",
        "Forwarded": None,
    }


async def test_what_the_caller_does_not_send_is_not_made_up(front: Front) -> None:
    """No empty headers: a correlation id that is there is taken for one."""
    await front.http.get("/v1/generate")
    [seen] = front.gateway.received
    assert not {"authorization", "x-correlation-id", "traceparent"} & set(seen.headers)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/generate", "/v1/generate/", "/v1/generate/estimate", "/v1/generate?limit=1"),
        "/v1/generate/9b2f6b1e-8f4d-4c7e-9b39-6c8a2f1d7e05/status",
        *("/v1/webhooks", "/v1/webhooks/9b2f6b1e-8f4d-4c7e-9b39-6c8a2f1d7e05/rotate"),
    ],
)
async def test_the_developer_api_is_the_gateways(front: Front, path: str) -> None:
    """Each of its paths, as it came."""
    await front.http.get(path)
    assert ([each.path for each in front.gateway.received], front.odoo.received) == ([path], [])


async def test_the_web_apps_generations_are_odoos(front: Front) -> None:
    """With the session of its user."""
    path = "/api/v1/generations"
    await front.http.post(path, json={"prompt": "p"}, headers={"Cookie": "session_id=s"})
    await front.http.get(f"{path}/9b2f6b1e-8f4d-4c7e-9b39-6c8a2f1d7e05")
    submitted, asked = front.odoo.received
    assert (submitted.method, submitted.path, submitted.json) == ("POST", path, {"prompt": "p"})
    assert submitted.headers["cookie"] == "session_id=s"
    assert asked.path == f"{path}/9b2f6b1e-8f4d-4c7e-9b39-6c8a2f1d7e05"
    assert front.gateway.received == []


async def test_what_the_gateway_says_stays_as_it_is(front: Front) -> None:
    """Its own problems, with its own headers: nginx does not speak for it."""
    for status in (400, 404, 413, 429, 500, 503):
        kept = {"retry-after": "7", "content-type": "application/problem+json"}
        front.gateway.says(answer(status, {"detail": "ours"}, kept))
        said = await front.http.post("/v1/generate", json={})
        assert (said.status_code, said.json()) == (status, {"detail": "ours"})
        assert {name: said.headers[name] for name in kept} == kept


async def test_prompts_are_never_written_to_files(front: Front) -> None:
    """The largest request, and an answer that nobody reads yet: nginx would log such a file."""
    page = b"x" * 30_000_000  # more than the sockets on the way hold
    front.gateway.says(answer(200, page))
    reader, writer = await front.connect()
    body = b"x" * MAX_BODY_BYTES
    writer.write(HOSTED + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await asyncio.wait_for(front.gateway.arrived.wait(), PATIENCE_SECONDS)
    assert (await ended(reader)).endswith(page)
    writer.close()
    assert "temporary file" not in front.nginx.supervisor.log.read_text()


# What does not ----------------------------------------------------------------------------------

NOT_FOR_THE_INTERNET = [
    *("/", "/health", "/health/ready", "/metrics", "/docs", "/openapi.json", "/.problem/503"),
    *("/v1/generations", "/v1/generations/9b2f6b1e-8f4d-4c7e-9b39-6c8a2f1d7e05/redeliver"),
    *("/v1/webhook-deliveries", "/webhook/generate", "/v1", "/v1/", "/v1/generatex"),
    *("/jsonrpc", "/web/login", "/api/v1/generationsx", "/duragen/v1/callback"),
    *("/ai/generation/failure", "/influencegen/n8ncallback/aiimage", "/_sandbox/keys"),
    # One path to nginx, another one to whom it would go.
    *("/v1/generate/../generations", "/v1/generate/../../health", "/v1/generate/..;/generations"),
    *("/v1/generate/%2e%2e/generations", "/v1/generate/%2E%2E/generations"),
    *("/v1/generate/.%2e/generations", "/v1/generate%2f..%2fgenerations"),
    *("/v1/generate/..%2fgenerations", "/v1/generate/%252e%252e/generations"),
    *("//v1/generations", "/v1//generations", "//v1/generate", "/v1//generate", "/v1/generate//x"),
    *("/webhook/../v1/generate", "/webhook/%2e%2e/v1/generate", "/webhook/x/../../v1/generate"),
    *("/v1/generations/../generate", "/v1/generations/%2e%2e/generate", "/./v1/generate"),
    *("/web/content/../../api/v1/generations", "/%76%31/generate", "/v1/generate%0a"),
    *("/v1/generate%00", "/v1/generate%3f", "/v1/generate%20x", "/v1/generate\\..\\generations"),
    *("/V1/GENERATE", "/v1/generate/#/../generations", "/v1/generate;x", "/v1/generate\x80"),
    *("https://x/v1/generations", "https://x/webhook/../v1/generate", "https://x"),
]


@pytest.mark.parametrize("path", NOT_FOR_THE_INTERNET)
async def test_nothing_else_is_for_the_internet(front: Front, path: str) -> None:
    """404, or 400 for what is no path; nothing goes through, whoever has which key."""
    for method in ("GET", "POST"):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {KEY}\r\nContent-Length: 2\r\n\r\n{{}}"
        said = await front.says(head.encode("latin-1"))
        if said.status == 400:
            assert_problem(said, 400, "malformed_request")
        else:
            assert_problem(said, 404, "no_such_path")
    assert front.arrived == []


REFUSED = {
    (400, "malformed_request"): {
        "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
        "a later HTTP": b"GET /v1/generate HTTP/3.0\r\nHost: x\r\n\r\n",
        "no host": POST + b"\r\n",
        "two keys": HOSTED + b"Authorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n",
        "two hosts": HOSTED + b"Host: y\r\n\r\n",
        "a host that is none": POST + b"Host: x/../y\r\n\r\n",
        "a length that is none": HOSTED + b"Content-Length: x\r\n\r\n",
        "two lengths": HOSTED + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "a length and chunks": HOSTED
        + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "chunks that are none": HOSTED + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        "an encoding of its own": HOSTED + b"Transfer-Encoding: gzip\r\n\r\n",
    },
    (405, "method_not_allowed"): {
        "a trace": b"TRACE /v1/generate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    },
    (414, "too_large"): {
        "a long address": b"GET /v1/generate?" + b"x" * 8_000 + b" HTTP/1.1\r\n\r\n",
    },
    (431, "too_large"): {
        "a long header": HOSTED + b"X: " + b"x" * 8_000 + b"\r\n\r\n",
        "many headers": HOSTED + (b"X: " + b"x" * 1_030 + b"\r\n") * 15 + b"\r\n",
    },
}


@pytest.mark.parametrize(
    ("answered", "what"),
    [(answered, what) for answered, requests in REFUSED.items() for what in requests],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_nginx_refuses_is_a_problem_document(
    front: Front, answered: tuple[int, str], what: str
) -> None:
    """As what the gateway refuses; and nothing of it goes through."""
    assert_problem(await front.says(REFUSED[answered][what]), *answered)
    assert front.arrived == []


async def test_the_largest_body(front: Front) -> None:
    """As much as the gateway takes; a byte more is 413, announced or in chunks."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * MAX_BODY_BYTES
        yield b"x"

    assert (await front.http.post("/v1/generate", content=b"x" * MAX_BODY_BYTES)).status_code == 200
    assert len(front.gateway.received.pop().body) == MAX_BODY_BYTES
    too_large = await front.http.post("/v1/generate", content=b"x" * (MAX_BODY_BYTES + 1))
    assert_problem(too_large, 413, "too_large")
    assert_problem(await front.http.post("/v1/generate", content=chunks()), 413, "too_large")
    assert front.arrived == []


async def test_tls_alone(front: Front) -> None:
    """Of 1.2 or later, with the file's certificate; plain http is refused, and goes nowhere."""
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        trust = ssl.create_default_context(cafile=front.nginx.certificate)
        trust.maximum_version = version
        _, writer = await asyncio.open_connection(HOST, front.nginx.port, ssl=trust)
        assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        writer.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(HOST, front.nginx.port, ssl=ssl.create_default_context())
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as plain:
        said = await plain.get(f"http://{HOST}:{front.nginx.port}/v1/generate")
    assert_problem(said, 400, "malformed_request")
    assert "https" in said.json()["detail"]
    assert front.arrived == []


# The file itself --------------------------------------------------------------------------------


def test_a_placeholder_that_is_left() -> None:
    """Nobody runs with it, and no test lowers a limit that is not there."""
    with pytest.raises(ValueError, match=r"nobody has filled in .*<443>"):
        filled({})
    with pytest.raises(ValueError, match="has no 'rate=21r/s'"):
        filled({"rate=21r/s": "rate=1r/m"})
