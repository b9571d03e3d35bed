"""A request's body, read within bounds; what is wrong with it becomes an HTTP status."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

BODY_SECONDS = 10.0
"""How long a caller may take to send its body; a slower one would only hold a connection."""


MEBIBYTE = 1024 * 1024
ALL_BODIES_BYTES, BODIES_OF_ONE_BYTES = 64 * MEBIBYTE, 16 * MEBIBYTE
"""Of bodies that have come in part, at a time: of all callers, and of one. Two thousand connections
with a slow body of 256 KB each would take half a gigabyte."""


class BodyRefusedError(Exception):
    """The body is not taken: 400, 408, 413, 415 or 503, and why. Nothing of it is quoted."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class BodyRoom:
    """Room for bodies while they come; one caller takes a part of it at most."""

    def __init__(
        self, everybodys: int = ALL_BODIES_BYTES, of_one: int = BODIES_OF_ONE_BYTES
    ) -> None:
        self._everybodys = everybodys
        self._of_one = of_one
        self._held: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def held(self, caller: str) -> Iterator[Callable[[int], None]]:
        """A function that takes so many bytes more; all are given back when the block ends.

        It raises BodyRefusedError 503.
        """
        mine = 0

        def take(more: int) -> None:
            nonlocal mine
            mine += more
            self._held[caller] += more
            self._all += more
            if self._held[caller] > self._of_one or self._all > self._everybodys:
                raise BodyRefusedError(503, "too many bodies are coming at once: send it again")

        try:
            yield take
        finally:
            self._all -= mine
            self._held[caller] -= mine
            if not self._held[caller]:  # callers may be as many as somebody makes up
                del self._held[caller]


async def bounded_body(request: Request, max_bytes: int, room: BodyRoom, caller: str) -> bytes:
    """The whole body, as it was sent. Raises BodyRefusedError."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise BodyRefusedError(415, "send the body without a Content-Encoding")
    too_large = BodyRefusedError(413, f"the body is over {max_bytes} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        with room.held(caller) as take:
            async with asyncio.timeout(BODY_SECONDS):
                # Counted while it comes: a chunked body announces no length.
                async for chunk in request.stream():
                    take(len(chunk))
                    body += chunk
                    if len(body) > max_bytes:
                        raise too_large
    except TimeoutError:
        raise BodyRefusedError(408, f"the body took longer than {BODY_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise BodyRefusedError(400, "the connection was closed before the body's end") from None
    return bytes(body)
