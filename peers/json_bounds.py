"""JSON from outside: counted on its raw bytes before anything is built of it.

2 MB of JSON with a million elements took 1.7 GB and held the event loop for ten seconds, most of it
for the texts of what was wrong with each. Whatever reads JSON that others wrote goes through here.
"""

import json
from typing import Any, TypeVar

from pydantic import BaseModel

MAX_ELEMENTS = 10_000
"""Of one answer or event: ours have some dozens. 10,000 are built in milliseconds and some MB."""

MAX_LISTED_ELEMENTS = 100_000
"""Of a list that others keep: a service's models (hundreds, with some sixty fields each), the pods
of a cluster. At the worst 60 MB and 0.15 s, when each is at fault."""

MAX_DEPTH = 64
"""Of lists and objects in each other; what we read has less than ten. Python's own parser gives up
at about a thousand."""

WINDOW_BYTES = 256 * 1024
"""So much is looked at in one step, in which no other thread runs: about a millisecond."""

_BACKSLASH = ord("\\")
_OPENING = b"[{"
_NO_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")

M = TypeVar("M", bound=BaseModel)


class JsonBoundsError(ValueError):
    """The JSON has more elements, or is deeper, than any that we ask for."""


def check_json(raw: bytes, max_elements: int = MAX_ELEMENTS) -> None:
    """Raise JsonBoundsError when more would be built than is good.

    Says nothing of whether it is JSON: it counts what a parser meets until it stops. Elements are
    the commas and opening brackets outside of texts. It takes some 3 ns a byte, and nearly nothing
    within a long text without escapes, such as an image in base64.
    """
    inside = skip = False
    elements = quotes = depth = 0
    for start in range(0, len(raw), WINDOW_BYTES):
        end = min(start + WINDOW_BYTES, len(raw))
        if inside and raw[end - 1] != _BACKSLASH and raw.find(b'"', start, end) < 0:
            skip = False
            continue
        # What follows a backslash stands for itself. Pairs first: the second of two hides nothing.
        window = raw[start + skip : end].replace(b"\\\\", b"")
        skip = window.endswith(b"\\")
        window = window.replace(b'\\"', b"")
        here = window.count(b'"')
        quotes += here
        if quotes > 4 * max_elements:  # a name and a text for each; before a piece is made of each
            raise JsonBoundsError(f"JSON of more than {max_elements} elements")
        outside = b"".join(window.split(b'"')[inside::2])
        inside ^= here % 2 == 1
        elements += sum(map(outside.count, (b",", b"[", b"{")))
        if elements > max_elements:
            raise JsonBoundsError(f"JSON of more than {max_elements} elements")
        for each in outside.translate(None, _NO_BRACKETS):
            depth += 1 if each in _OPENING else -1
            if depth > MAX_DEPTH:
                raise JsonBoundsError(f"JSON that is more than {MAX_DEPTH} levels deep")
            if depth < 0:
                return  # a parser stops here


def loads(raw: bytes, max_elements: int = MAX_ELEMENTS) -> Any:
    """The value. Raises ValueError when it is no JSON, in UTF-8, within the bounds."""
    check_json(raw, max_elements)
    # As UTF-8 alone: json.loads would take bytes for UTF-16, too, which were counted otherwise.
    return json.loads(raw.decode())


def validated(model: type[M], raw: bytes, max_elements: int = MAX_ELEMENTS) -> M:
    """The JSON as a model. Raises ValueError: pydantic's ValidationError, or JsonBoundsError."""
    check_json(raw, max_elements)
    return model.model_validate_json(raw)
