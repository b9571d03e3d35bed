"""Bodies from outside, within bounds: raw bytes are counted, and one layer of gzip is undone.

BodyError                   the body cannot be had; a kind of httpx.DecodingError
    TooLargeError           it is larger than the caller is ready to hold
    EncodingError           it is compressed in a way that is not undone here, or not what it says

Small answers can be made that unpack to gigabytes (1,827 bytes under `gzip, gzip` to 4 GB). So we
ask for none of it (`ASKED_ENCODING`), undo the one layer that some proxies add all the same, a
piece at a time, and refuse the rest.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from io import BytesIO
from typing import Protocol

import httpx

ASKED_ENCODING = {"Accept-Encoding": "identity"}
"""Sent with each call: RFC 9110, 12.5.3."""

ERROR_BYTES = 64 * 1024
"""What is read of the body of an error: its beginning says what is wrong."""

PIECE_BYTES = 256 * 1024
"""So much is unpacked at a time: about a millisecond."""

_GZIP = {"gzip", "x-gzip"}


class BodyError(httpx.DecodingError):
    """The body cannot be had. No text quotes it."""


class TooLargeError(BodyError):
    """The body is larger than the caller is ready to hold."""


class EncodingError(BodyError):
    """The body is compressed in a way that is not undone here, or is not what it says it is."""


class Holder(Protocol):
    """What keeps a body: all of it, as a BytesIO does, or what it makes of it."""

    def write(self, piece: bytes, /) -> object:
        """Take the next piece. May raise BodyError."""

    def getvalue(self) -> bytes:
        """What was kept."""


class BoundedBody:
    """A body that comes in chunks; at most `max_bytes` of it are held, packed or not.

    With `cut`, what is too much or cannot be read is left away; else it is a BodyError.
    """

    def __init__(
        self,
        headers: httpx.Headers,
        max_bytes: int,
        *,
        cut: bool = False,
        holder: Holder | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._cut = cut
        self._raw = self._taken = 0
        # Not a list of chunks, which would be twice as large when joined.
        self._held = holder or BytesIO()
        self._unpacking: zlib._Decompress | None = None
        self.complete = False
        """Nothing more need be read."""
        announced = headers.get("content-length", "")
        if not cut and announced.isdecimal() and int(announced[:20]) > max_bytes:
            raise TooLargeError(f"announced {announced[:20]} bytes, at most {max_bytes} are taken")
        layers = _layers(headers.get_list("content-encoding", split_commas=True))
        if len(layers) == 1 and layers[0] in _GZIP:
            self._unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
        elif layers and cut:
            self.complete = True
        elif layers:
            raise EncodingError(
                f"sent a body under {len(layers)} content encodings that were not asked for; one"
                " layer of gzip is undone, and nothing else"
            )

    def feed(self, chunk: bytes) -> Iterator[None]:
        """Take a chunk as it came; each turn is a piece of work. Raises BodyError."""
        self._raw += len(chunk)
        if self._raw > self._max_bytes and not self._cut:
            raise TooLargeError(f"sent more than {self._max_bytes} bytes")
        self.complete = self._raw >= self._max_bytes and self._cut
        try:
            for piece in self._unpacked(chunk) if self._unpacking else (chunk,):
                self._hold(piece)
                yield
        except EncodingError:
            if not self._cut:
                raise
            self.complete = True

    def whole(self) -> bytes:
        """All of it, when no chunk follows. Raises EncodingError when an end is missing."""
        if self._unpacking and self._raw and not self._unpacking.eof and not self._cut:
            raise EncodingError("sent a gzip body that ends too early")
        return self._held.getvalue()

    def _hold(self, piece: bytes) -> None:
        room = self._max_bytes - self._taken
        if len(piece) > room and not self._cut:
            raise TooLargeError(f"sent more than {self._max_bytes} bytes, unpacked")
        self._held.write(piece[:room])
        self._taken += min(len(piece), room)
        self.complete |= self._cut and len(piece) >= room

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        unpacking = self._unpacking
        assert unpacking is not None  # noqa: S101  # for the type checker
        left = chunk
        try:
            while not unpacking.eof:
                piece = unpacking.decompress(left, PIECE_BYTES)
                yield piece
                left = unpacking.unconsumed_tail
                if not (left or unpacking.eof) and len(piece) < PIECE_BYTES:
                    return
        except zlib.error:
            raise EncodingError("sent a body that is not the gzip it says") from None
        if unpacking.unused_data or left:
            raise EncodingError("sent a gzip body with bytes after its end")


async def read_body(
    chunks: AsyncIterator[bytes],
    status: int,
    headers: httpx.Headers,
    max_bytes: int,
    holder: Holder | None = None,
) -> bytes:
    """A body as it comes from the wire, in raw chunks. Raises BodyError for a success.

    Of an error `ERROR_BYTES` are read, as far as they can be: its status decides. A `holder` is for
    a success. The event loop turns between two pieces.
    """
    cut = status >= 300
    if cut:
        max_bytes, holder = min(max_bytes, ERROR_BYTES), None
    body = BoundedBody(headers, max_bytes, cut=cut, holder=holder)
    if body.complete:
        return b""
    async for chunk in chunks:
        for _ in body.feed(chunk):
            if body.complete:
                return body.whole()
            await asyncio.sleep(0)
        if body.complete:
            break
    return body.whole()


def _layers(encodings: Sequence[str]) -> list[str]:
    named = (each.strip().lower() for each in encodings)
    return [each for each in named if each not in {"", "identity"}]
