"""Faults of the sandbox image service, seen on the wire."""

import base64
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from deploy.local.stack.local_stack import LocalStack

URL = "/v1/images/generations"
BODY = {"model": "gpt-image-2.5-flare", "prompt": "a fox", "size": "128x128"}
FLUX_BODY = {"prompt": "a fox", "width": 128, "height": 128}
Break = Callable[..., Any]


async def test_status_with_headers_and_body(images: httpx.AsyncClient, break_images: Break) -> None:
    """A fault can be any status with any headers and body; the next call is well again."""
    error = {"error": {"code": "slow_down"}}
    await break_images(
        {"kind": "status", "status": 429, "headers": {"retry-after": "7"}, "body": error}
    )
    answer = await images.post(URL, json=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json() == error
    assert (await images.post(URL, json=BODY)).status_code == 200


async def test_always(images: httpx.AsyncClient, break_images: Break) -> None:
    """`always` meets every call until it is taken back."""
    await break_images(always={"kind": "status", "status": 503})
    assert [(await images.post(URL, json=BODY)).status_code for _ in range(3)] == [503] * 3


async def test_a_share_of_the_calls(images: httpx.AsyncClient, break_images: Break) -> None:
    """With `share`, some calls meet the fault; the seed makes them the same ones each time."""
    always = {"kind": "status", "status": 503, "share": 0.3, "seed": 7}
    rows = []
    for _ in range(2):
        await break_images(always=always)
        rows.append([(await images.post(URL, json=BODY)).status_code for _ in range(40)])
    assert rows[0] == rows[1]
    assert 4 <= rows[0].count(503) <= 20
    await break_images(always=always | {"seed": 8})
    assert [(await images.post(URL, json=BODY)).status_code for _ in range(40)] != rows[0]


async def test_redirect(images: httpx.AsyncClient, break_images: Break) -> None:
    """A 301 has a Location that leads elsewhere."""
    await break_images({"kind": "status", "status": 301, "headers": {"location": "/elsewhere"}})
    answer = await images.post(URL, json=BODY)
    assert (answer.status_code, answer.headers["location"]) == (301, "/elsewhere")


async def test_html(images: httpx.AsyncClient, break_images: Break) -> None:
    """A maintenance page comes with status 200."""
    await break_images({"kind": "html"})
    answer = await images.post(URL, json=BODY)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (200, "text/html")


async def test_empty(images: httpx.AsyncClient, break_images: Break) -> None:
    """An empty answer comes with status 200."""
    await break_images({"kind": "empty"})
    answer = await images.post(URL, json=BODY)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("kind", "paid", "error"),
    [
        ("close", 0, httpx.RemoteProtocolError),
        ("accept_then_reset", 1, httpx.ReadError),
        ("hang", 0, httpx.ReadTimeout),
        ("accept_then_hang", 1, httpx.ReadTimeout),
    ],
)
async def test_no_answer(
    images: httpx.AsyncClient,
    break_images: Break,
    calls: Callable[[], Any],
    kind: str,
    paid: int,
    error: type[Exception],
) -> None:
    """Without an answer, the client cannot know what the call log knows: what was paid for."""
    await break_images({"kind": kind})
    with pytest.raises(error):
        await images.post(URL, json=BODY, timeout=0.5)
    assert (await calls())["paid"] == paid


@pytest.mark.parametrize("kind", ["close", "accept_then_reset"])
async def test_what_tcp_sees(
    images: httpx.AsyncClient, break_images: Break, sandboxes: LocalStack, kind: str
) -> None:
    """`close` is an orderly FIN, `accept_then_reset` a real RST."""
    await break_images({"kind": kind})
    request = images.build_request("POST", URL, json=BODY)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", sandboxes.ports.images), 5) as connection:
        connection.sendall(f"POST {URL} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
        if kind == "close":
            assert connection.recv(1) == b""
        else:
            with pytest.raises(ConnectionResetError):
                connection.recv(1)


async def test_drip(images: httpx.AsyncClient, break_images: Break) -> None:
    """A dripping answer is right, but takes its time."""
    await break_images({"kind": "drip", "seconds": 0.4})
    began = time.monotonic()
    answer = await images.post(URL, json=BODY)
    assert time.monotonic() - began >= 0.4
    assert base64.b64decode(answer.json()["data"][0]["b64_json"])


async def test_latency(images: httpx.AsyncClient, break_images: Break) -> None:
    """`latency_seconds` is how long an image takes."""
    await break_images(latency_seconds=0.3)
    began = time.monotonic()
    await images.post(URL, json=BODY)
    assert time.monotonic() - began >= 0.3


def _not_an_image(image: bytes) -> None:
    with pytest.raises(OSError, match=r"cannot identify|truncated"):
        Image.open(io.BytesIO(image)).load()


def _a_bomb(image: bytes) -> None:
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(image))


def _another_size(image: bytes) -> None:
    assert Image.open(io.BytesIO(image)).size == (64, 64)


SPOILED = [
    ("half_image", _not_an_image),
    ("html_image", _not_an_image),
    ("empty_image", _not_an_image),
    ("bomb", _a_bomb),
    ("wrong_size", _another_size),
]


@pytest.mark.parametrize(("kind", "check"), SPOILED)
async def test_spoiled_openai_image(
    images: httpx.AsyncClient, break_images: Break, kind: str, check: Callable[[bytes], None]
) -> None:
    """The call is accepted, and what should be the image is not."""
    await break_images({"kind": kind})
    answer = await images.post(URL, json=BODY)
    assert answer.status_code == 200
    check(base64.b64decode(answer.json()["data"][0]["b64_json"], validate=True))


@pytest.mark.parametrize(("kind", "check"), SPOILED)
async def test_spoiled_flux_image(
    images: httpx.AsyncClient, break_images: Break, kind: str, check: Callable[[bytes], None]
) -> None:
    """A job can be born with the fault that its sample shows."""
    await break_images({"kind": kind})
    task = (await images.post("/v1/flux-2-pro", json=FLUX_BODY)).json()
    ready = (await images.get(task["polling_url"])).json()
    check((await images.get(ready["result"]["sample"])).content)


async def test_not_base64(images: httpx.AsyncClient, break_images: Break) -> None:
    """The place of the image has something that is not base64."""
    await break_images({"kind": "not_base64"})
    answer = await images.post(URL, json=BODY)
    with pytest.raises(ValueError, match="base64"):
        base64.b64decode(answer.json()["data"][0]["b64_json"], validate=True)


async def test_fault_on_poll(images: httpx.AsyncClient, break_images: Break) -> None:
    """With `on`, a fault waits for a poll; the poll after it is well."""
    await break_images({"kind": "status", "status": 500, "on": "poll"})
    task = (await images.post("/v1/flux-2-pro", json=FLUX_BODY)).json()
    statuses = [(await images.get(task["polling_url"])).status_code for _ in range(2)]
    assert statuses == [500, 200]


async def test_fault_on_sample(images: httpx.AsyncClient, break_images: Break) -> None:
    """With `on`, a sample expires once."""
    await break_images({"kind": "sample_expired", "on": "sample"})
    task = (await images.post("/v1/flux-2-pro", json=FLUX_BODY)).json()
    sample = (await images.get(task["polling_url"])).json()["result"]["sample"]
    assert [(await images.get(sample)).status_code for _ in range(2)] == [403, 200]


async def test_misspelt_fault(images: httpx.AsyncClient) -> None:
    """A fault that does not exist is refused instead of silently ignored."""
    answer = await images.put("/_sandbox/faults", json={"queue": [{"kind": "nonsense"}]})
    assert answer.status_code == 422
