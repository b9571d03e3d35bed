"""Images in base64 within JSON: decoded while they come, so that one copy is held, and no other.

Read as a whole, 64 MiB in base64 take 240 MB: the JSON, its text without escapes, the bytes.
"""

import binascii
import re
from contextlib import suppress
from io import BytesIO

import pybase64

from peers.bodies import BodyError, TooLargeError

_MOST_SPACE = 32
"""Beside the colon. JSON allows more; nobody writes it."""

MOST_TEXTS = 16
"""We ask for one image. Each is looked for in what is left of a piece."""

_ALPHABETS = (None, b"-_")
"""RFC 4648, 4 and 5."""


class Base64Texts:
    """JSON that comes in pieces, of which the texts under `name` are in base64.

    `getvalue` is the JSON in which each such text is its number in `found`, where its bytes are.
    Together they are at most `max_bytes`, and the JSON around them `max_around_bytes`.
    """

    def __init__(self, name: str, max_bytes: int, max_around_bytes: int) -> None:
        self.found: list[BytesIO] = []
        # A quote behind a backslash stands within a text.
        space = rb"[ \t\r\n]{0,%d}" % _MOST_SPACE
        opening = rb'(?<!\\)"%b"%b:%b"' % (re.escape(name.encode()), space, space)
        self._opening = re.compile(opening)
        self._longest_opening = len(f'"{name}":"') + 2 * _MOST_SPACE
        self._left = max_bytes
        self._max_around_bytes = max_around_bytes
        self._around = bytearray()
        self._looked_at = 0
        self._text: _Text | None = None

    def write(self, piece: bytes) -> None:
        """Take what comes next. Raises BodyError."""
        left = piece
        while left:
            left = self._within(self._text, left) if self._text else self._outside(left)

    def getvalue(self) -> bytes:
        """The JSON around the texts, as far as it has come."""
        return bytes(self._around)

    def _outside(self, piece: bytes) -> bytes:
        """Look for the next text; what is left of the piece is its beginning."""
        around = self._around
        around += piece
        opened = self._opening.search(around, self._looked_at)
        if opened:
            if len(self.found) == MOST_TEXTS:
                raise TooLargeError(f"sent more than {MOST_TEXTS} images")
            piece = bytes(around[opened.end() :])
            del around[opened.end() :]
            around += b"%d" % len(self.found)
            self.found.append(BytesIO())
            self._text = _Text()
        if len(around) > self._max_around_bytes:
            raise TooLargeError(f"sent more than {self._max_around_bytes} bytes around its images")
        # An opening may have come in part.
        self._looked_at = max(self._looked_at, len(around) - self._longest_opening)
        return piece if opened else b""

    def _within(self, text: "_Text", piece: bytes) -> bytes:
        """Decode up to the text's end; what is left of the piece stands behind it."""
        end = piece.find(b'"')
        data = text.decoded(piece if end < 0 else piece[:end])
        if end >= 0:
            data += text.rest()
        self._left -= len(data)
        if self._left < 0:
            raise TooLargeError("sent a larger image in base64 than was asked for")
        self.found[-1].write(data)
        if end < 0:
            return b""
        self._text = None
        self._looked_at = len(self._around)
        return piece[end:]


class _Text:
    """One text in base64. `/` may be escaped, as PHP does it."""

    def __init__(self) -> None:
        self._carried = b""
        self._ended = False

    def decoded(self, piece: bytes) -> bytes:
        """The bytes of whole groups of four. Raises BodyError."""
        piece = self._carried + piece
        whole = len(piece) // 4 * 4
        if b"\\" in piece:
            piece = piece.replace(b"\\/", b"/")
            # The other half of an escape may be to come.
            whole = (len(piece) - piece.endswith(b"\\")) // 4 * 4
            if b"\\" in piece[:whole]:
                raise BodyError("sent an image in base64 with escapes")
        self._carried = piece[whole:]
        return self._groups(piece[:whole])

    def rest(self) -> bytes:
        """The bytes of the last group, where its padding has been left away."""
        return self._groups(self._carried + b"=" * (-len(self._carried) % 4))

    def _groups(self, groups: bytes) -> bytes:
        if not groups:
            return b""
        if self._ended:
            raise BodyError("sent base64 that goes on after its end")
        self._ended = groups.endswith(b"=")
        for alphabet in _ALPHABETS:
            with suppress(binascii.Error):
                return pybase64.b64decode(groups, alphabet, validate=True)
        raise BodyError("sent an image that is not base64")
