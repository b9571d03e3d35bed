"""Whatever bytes a peer sends, each parser of them ends with a value or a typed error."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from activities.errors import OdooError, ProviderError
from activities.images import Wanted, check_image
from activities.odoo.callback import CallbackDelivery
from activities.providers.errors import refused, unreadable
from activities.providers.flux import FLUX, FLUX_POLL, FLUX_RESULT
from activities.providers.kubernetes import api
from activities.providers.openai_dialect import OPENAI, OPENAI_LINK
from activities.providers.probing import models_listed
from contracts.generation import MAX_DETAIL_CHARACTERS, Job
from peers.http import Answer, parsed, retry_after_seconds
from tests.activities.hostile_answers import asked, outcome
from tests.activities.provider_calls import (
    TRUSTED,
    at_once,
    collection,
    flux,
    openai,
    submission,
)
from tests.bounded import within_bounds

BASE = "http://127.0.0.1:1"
FEW = settings(derandomize=True, max_examples=200, deadline=None)

KEYS = st.sampled_from(
    [
        *("data", "b64_json", "url", "error", "code", "message", "param", "type", "detail", "loc"),
        *("msg", "id", "polling_url", "status", "result", "sample", "progress", "details"),
        *("respect_moderation", "moderation_details", "inner_error", "provider_specific_fields"),
        *("metadata", "flagged_input", "credits", "success"),
    ]
)
TEXTS = st.sampled_from(
    [
        *("", "Ready", "Pending", "Error", "Content Moderated", "Task not found", "AAAA", "A", "ü"),
        *("moderation_blocked", "None", "null", "\x00", "\ud800", "x" * 3_000, f"{BASE}/poll"),
        *("http://[", "https://api.bfl.ai/", "//", "http://a:b@127.0.0.1:1/", "1e999"),
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=8) | KEYS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)
ODD = [b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"[" * 500, b"1" * 5_000, b'{"a":1e400}', b"\x00"]
REPEATED = st.builds(
    lambda head, piece, times: head + piece * times,
    st.sampled_from([b"", b"[", b'{"data":[', b'{"data":[{"b64_json":"', b'{"detail":[']),
    st.sampled_from([b"1,", b"{},", b"[],", b"[", b'{"a":', b'"",', b"AAAA", b"\\/", b"\\", b"x"])
    | st.binary(min_size=1, max_size=4),
    st.integers(1, 30_000),
)
BODIES = (
    VALUES.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=80)
    | st.sampled_from(ODD)
    | REPEATED
)
STATUSES = st.sampled_from(
    [200, 201, 204, 302, 400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 504]
)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "retry-after-ms", "x-request-id"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
    | st.sampled_from(
        ["application/json", "text/html", "application/json; charset=x", "-1", "nan"]
    ),
)


def answering(status: int, headers: dict[str, str], body: bytes) -> httpx.AsyncClient:
    """A client whose peer sends just this."""

    async def sent() -> Any:
        yield body

    def reply(_: httpx.Request) -> httpx.Response:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        return httpx.Response(status, headers=raw, content=sent())

    return httpx.AsyncClient(transport=httpx.MockTransport(reply), trust_env=False, verify=TRUSTED)


def bounded(error: ProviderError | OdooError) -> None:
    """What is recorded of an error is bounded, whatever the peer has sent."""
    detail = error.failure.detail if isinstance(error, ProviderError) else error.detail
    assert len(detail) <= MAX_DETAIL_CHARACTERS
    assert error.retry_after is None or 0 <= error.retry_after <= 3_600
    error.to_application_error()


@FEW
@given(STATUSES, HEADERS, BODIES)
@example(200, {}, b'{"data":[{"url":"http://127.0.0.1:1/a"}]}')
@example(200, {}, b'{"data":[{"b64_json":"\\ud800"}]}')
@within_bounds
def test_openai(status: int, headers: dict[str, str], body: bytes) -> None:
    """The bytes of an image, or a ProviderError."""

    async def submit() -> None:
        async with answering(status, headers, body) as client:
            try:
                assert isinstance(
                    await openai(client, BASE).submit(submission(asked()), at_once), bytes
                )
            except ProviderError as error:
                bounded(error)

    asyncio.run(submit())


@FEW
@given(STATUSES, HEADERS, BODIES)
@example(200, {}, b'{"id":"1","polling_url":"http://127.0.0.1:1/poll"}')
@example(200, {}, b'{"status":"Ready","result":{"sample":"http://127.0.0.1:1/a"}}')
@within_bounds
def test_flux(status: int, headers: dict[str, str], body: bytes) -> None:
    """A job, progress, bytes, or a ProviderError."""

    async def all_calls() -> None:
        async with answering(status, headers, body) as client:
            service, task = flux(client, BASE), collection(asked(), f"{BASE}/poll")
            try:
                assert isinstance(await service.submit(submission(asked()), at_once), Job)
            except ProviderError as error:
                bounded(error)
            try:
                progress = await service.poll(task)
                assert progress.percent is None or 0 <= progress.percent <= 100
                await service.fetch(task, progress.result_url or "", at_once)
            except ProviderError as error:
                bounded(error)

    asyncio.run(all_calls())


@FEW
@given(STATUSES, HEADERS, BODIES)
@within_bounds
def test_callback(status: int, headers: dict[str, str], body: bytes) -> None:
    """It is taken, or an OdooError."""

    async def deliver() -> None:
        task, event = outcome(BASE)
        async with answering(status, headers, body) as client:
            try:
                await CallbackDelivery(client, BASE, [], []).deliver(task, event)
            except OdooError as error:
                bounded(error)

    asyncio.run(deliver())


@FEW
@given(STATUSES, HEADERS, BODIES)
@within_bounds
def test_refusals(status: int, headers: dict[str, str], body: bytes) -> None:
    """Each dialect makes an error of any refusal, and a look-up of any list."""
    answer = Answer(
        status, httpx.Headers({k: v.encode("latin-1") for k, v in headers.items()}), body
    )
    for dialect in (OPENAI, OPENAI_LINK, FLUX, FLUX_POLL, FLUX_RESULT):
        bounded(refused(answer, dialect, submission(asked())))
        bounded(unreadable(answer, dialect, "why"))
    parsed(answer)
    models_listed(["m-1"], "p")(answer)
    for read in (api._created, api._seen, api._deleted, api._listed, api._allowed):
        try:
            read(answer)
        except ProviderError as error:
            bounded(error)


@FEW
@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
        | st.sampled_from(["Wed, 21 Oct 9999 07:28:00 GMT", "Mon, 99 Foo 0 0:0:0", "1e999", "∞"])
        | st.floats().map(str)
        | st.integers().map(str)
        | st.datetimes().map(lambda when: f"{when:%a, %d %b %Y %H:%M:%S} GMT"),
    )
)
@example({"retry-after": "Wed, 21 Oct 2026 07:28:00 +99999999999999999999"})
@example({"retry-after": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"})
@within_bounds
def test_retry_after(headers: dict[str, str]) -> None:
    """0 seconds to an hour, or nothing."""
    seconds = retry_after_seconds(httpx.Headers({k: v.encode() for k, v in headers.items()}))
    assert seconds is None or 0 <= seconds <= 3_600


def images() -> dict[str, bytes]:
    """A good image of each format."""
    made = {}
    for name in ("PNG", "JPEG", "WEBP"):
        file = BytesIO()
        Image.radial_gradient("L").resize((64, 48)).convert("RGB").save(file, name)
        made[name] = file.getvalue()
    return made


IMAGES = images()


@FEW
@given(st.sampled_from(sorted(IMAGES)), st.data())
@within_bounds
def test_broken_images(name: str, data: st.DataObject) -> None:
    """Cut, changed, continued: a size, or a ProviderError."""
    raw = bytearray(IMAGES[name])
    places = st.integers(0, len(raw) - 1)
    for at, byte in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=6)).items():
        raw[at] = byte
    cut = data.draw(st.one_of(st.none(), places))
    broken = bytes(raw[:cut]) + data.draw(st.binary(max_size=20))
    checked: Callable[[], object] = lambda: check_image(broken, Wanted(name.lower(), (64, 48)))  # noqa: E731
    with suppress(ProviderError):
        assert checked() == (64, 48)


@FEW
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\xff\xff\xff\xffWEBP"]),
    st.binary(max_size=200),
)
@within_bounds
def test_no_images(start: bytes, rest: bytes) -> None:
    """Bytes that begin as an image are a ProviderError."""
    try:
        check_image(start + rest, Wanted("png", (64, 48)))
    except ProviderError as error:
        bounded(error)
