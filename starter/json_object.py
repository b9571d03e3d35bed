"""JSON that somebody sent, read strictly: an object, every key once, no NaN, within bounds."""

import json
from codecs import BOM_UTF8
from typing import Any

from peers.json_bounds import JsonBoundsError, check_json


class NotJsonError(ValueError):
    """It is no JSON; the text says where, and quotes nothing."""


class NotAnObjectError(ValueError):
    """It is JSON, and no object."""


def without_mark(raw: bytes) -> bytes:
    """The same without a byte order mark, which RFC 8259, 8.1, lets us ignore."""
    return raw.removeprefix(BOM_UTF8)


def object_of(raw: bytes) -> dict[str, Any]:
    """The object. Raises NotJsonError, NotAnObjectError."""
    try:
        check_json(raw)
        found = json.loads(
            raw.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except JsonBoundsError as error:
        raise NotJsonError(f"the body is {error}") from None
    except ValueError as error:  # also UnicodeDecodeError, and numbers of thousands of digits
        place = ""
        if isinstance(error, json.JSONDecodeError):
            place = f" (line {error.lineno}, column {error.colno})"
        raise NotJsonError(f"the body is not valid JSON{place}") from None
    if isinstance(found, dict):
        return found
    message = "must be a JSON object"
    if isinstance(found, list | str):
        message += f": send the event itself, not a {'list' if isinstance(found, list) else 'text'}"
    raise NotAnObjectError(message)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key twice: which one was meant?")
    return found


def _no_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
