"""JSON from outside is counted on its raw bytes, whatever its texts hold."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peers import json_bounds
from peers.json_bounds import MAX_DEPTH, MAX_ELEMENTS, JsonBoundsError, check_json, loads
from tests.bounded import within_bounds

TEXTS = st.text(alphabet=st.sampled_from('",[]{}\\:/ a\x00é∁'), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)


def elements(value: Any) -> int:
    """Lists, objects, and the commas between what is in them."""
    if isinstance(value, list | dict):
        inside = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(len(inside) - 1, 0) + sum(map(elements, inside))
    return 0


def depth(value: Any) -> int:
    """Lists and objects in each other."""
    if isinstance(value, list | dict):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inside), default=0)
    return 0


@settings(derandomize=True, max_examples=300, deadline=None)
@given(VALUES, st.booleans(), st.integers(min_value=2, max_value=40))
@example(['\\"', "\\", '"'], True, 2)
@within_bounds
def test_every_element_is_counted(value: Any, ascii_alone: bool, window: int) -> None:
    """Exactly those of the value, however its bytes fall into windows."""
    raw = json.dumps(value, ensure_ascii=ascii_alone).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_bounds, "WINDOW_BYTES", window)
        check_json(raw, max(elements(value), 1))
        if elements(value):
            with pytest.raises(JsonBoundsError):
                check_json(raw, elements(value) - 1)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(min_value=2, max_value=40))
@within_bounds
def test_any_bytes(raw: bytes, window: int) -> None:
    """A value, or a ValueError."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_bounds, "WINDOW_BYTES", window)
        try:
            loads(raw)
        except ValueError:
            return


def test_the_limits_are_where_they_are_said_to_be() -> None:
    """As many elements, and as deep, as the constants say; one more is refused."""
    most = b"[" + b"1," * (MAX_ELEMENTS - 1) + b"1]"
    assert len(loads(most)) == MAX_ELEMENTS
    with pytest.raises(JsonBoundsError, match="more than 10000 elements"):
        loads(most.replace(b"]", b",1]"))
    loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(JsonBoundsError, match="more than 64 levels"):
        loads(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" + b"[],".join([b""] * 20_000) + b"]",
        b'{"a":' * 20_000,
        b'["' + b'","' * 20_000 + b'"]',
        b'"a"' * 50_000,
        b'["\\\\",' + b"1," * 20_000 + b"1]",
        b'["\\\\\\"",' + b"1," * 20_000 + b"1]",
    ],
    ids=["lists", "deep", "texts", "texts without commas", "backslash", "backslash and quote"],
)
def test_nothing_hides(raw: bytes) -> None:
    """What would become many values is refused before it does."""
    with pytest.raises(JsonBoundsError):
        loads(raw)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-16-be"])
def test_utf_8_alone(encoding: str) -> None:
    """Python's parser takes UTF-16, too, in which a letter may hold the byte of a quote."""
    raw = ('["∁",' + "1," * 20_000 + "1]").encode(encoding)
    with pytest.raises(ValueError):  # noqa: PT011  # of whatever kind
        loads(raw)


def test_what_a_text_holds_does_not_count() -> None:
    """A prompt of commas and brackets is one text; so is an image in base64."""
    for text in (",[{" * 50_000, '"' * 50_000, "\\" * 50_001, "A" * 3_000_000):
        assert loads(json.dumps([text]).encode()) == [text]
