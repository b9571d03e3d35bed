"""HTTP to others: one bounded call, and what its headers say about trying again."""

import asyncio
import codecs
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx

from otel.correlation import outgoing_headers
from peers.bodies import ASKED_ENCODING, Holder, read_body
from peers.json_bounds import loads
from peers.own_headers import without_own_headers

MAX_RETRY_AFTER_SECONDS = 3_600.0
"""A service that asks for more is taken to mean an hour; the generation's deadline comes first."""

MAX_PARSED_BYTES = 4 * 1024 * 1024
"""Of what `parsed` reads: what is larger is an image, or nothing. The text and its values are two
copies more."""


class Answer(NamedTuple):
    """A complete answer; `headers` are case-insensitive."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    @property
    def json_text(self) -> bytes:
        """The body without the byte order mark that some put before JSON (RFC 8259, 8.1)."""
        return self.body.removeprefix(codecs.BOM_UTF8)


async def nothing() -> None:
    """Stand-in for a caller that needs no word before the body is read."""


async def call(  # noqa: PLR0913  # each is a part of one call, or a bound
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    timeout_seconds: float,
    max_bytes: int,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    before_body: Callable[[], Awaitable[None]] = nothing,
    holder: Holder | None = None,
) -> Answer:
    """Make one call and read the whole answer, within `timeout_seconds` and `max_bytes`.

    Of an answer that is no success, the beginning is read (`peers.bodies.ERROR_BYTES`).

    The time covers everything, so that a peer that drips a byte a second is cut off. `before_body`
    is awaited between the headers and the body, and its wait does not count. Of a success the body
    is what `holder` makes of it. Redirects are never followed: a key must not travel to another
    host.

    Raises TimeoutError, peers.bodies.BodyError and httpx.TransportError.
    """
    async with asyncio.timeout(timeout_seconds) as limit:
        request = client.stream(
            method,
            url,
            headers={**ASKED_ENCODING, **outgoing_headers(), **(headers or {})},
            content=content,
            follow_redirects=False,
        )
        async with request as response:
            due = limit.when()
            limit.reschedule(None)
            paused = asyncio.get_running_loop().time()
            await before_body()
            if due is not None:
                limit.reschedule(due + asyncio.get_running_loop().time() - paused)
            body = await read_body(
                response.aiter_raw(), response.status_code, response.headers, max_bytes, holder
            )
            body = without_own_headers(response.request, body)
            return Answer(response.status_code, response.headers, body)


def parsed(answer: Answer) -> Any:
    """The body as JSON, None when it is none, or more of it than anybody needs."""
    if len(answer.body) > MAX_PARSED_BYTES:
        return None
    try:
        return loads(answer.json_text)
    except (ValueError, RecursionError):
        return None


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """What `retry-after-ms` or `Retry-After` (seconds or an HTTP date) asks for, 0 to an hour.

    None when neither is there or neither makes sense.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1_000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return _bounded(seconds)
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return _bounded((date - datetime.now(UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
