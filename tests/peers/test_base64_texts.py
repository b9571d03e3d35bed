"""Images in base64 come out of JSON as they are, however that is written and cut into pieces."""

import base64
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.base64_texts import Base64Texts
from peers.bodies import BodyError, TooLargeError
from tests.bounded import within_bounds

Pairs = list[tuple[str, str | int | None]]

NAMES = st.sampled_from(["data", "url", 'b64_json"', "b64_json\\", '"b64_json":"', "b64", "é"])
VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=12), NAMES)


def read(texts: Base64Texts, body: bytes, cuts: Sequence[int] = ()) -> object:
    """The JSON around, from a body that comes in pieces that end at `cuts`."""
    ends = sorted({min(cut, len(body)) for cut in cuts} | {len(body)})
    for start, end in zip([0, *ends], ends, strict=False):
        texts.write(body[start:end])
    return json.loads(texts.getvalue())


@given(
    images=st.lists(st.binary(max_size=20), max_size=3),
    beside=st.lists(st.tuples(NAMES, VALUES), max_size=3),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    indent=st.sampled_from([None, 2]),
    alphabet=st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
    padded=st.booleans(),
    escaped=st.booleans(),
)
@within_bounds
def test_what_is_in_comes_out(
    images: list[bytes],
    beside: Pairs,
    cuts: list[int],
    indent: int | None,
    alphabet: type[base64.b64encode],
    *,
    padded: bool,
    escaped: bool,
) -> None:
    """Every image, and the rest of the JSON unchanged."""
    coded = [alphabet(image).decode() for image in images]
    coded = coded if padded else [each.rstrip("=") for each in coded]
    data = [{**dict(beside), "b64_json": each} for each in coded]
    body = json.dumps({"data": data, "more": dict(beside)}, indent=indent)
    if escaped:
        body = body.replace("/", "\\/")
    texts = Base64Texts("b64_json", 60, 10_000)
    around = read(texts, body.encode(), cuts)
    numbered = [{**dict(beside), "b64_json": str(n)} for n in range(len(images))]
    assert around == json.loads(json.dumps({"data": numbered, "more": dict(beside)}))
    assert [each.getvalue() for each in texts.found] == images


@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=6))
@within_bounds
def test_any_bytes(body: bytes, cuts: list[int]) -> None:
    """They are kept, or are a BodyError, and how they come makes no difference."""
    whole, cut = (_outcome(b'{"b64_json":"' + body, at) for at in ((), cuts))
    assert whole == cut


def _outcome(body: bytes, cuts: Sequence[int]) -> object:
    texts = Base64Texts("b64_json", 100, 100)
    try:
        read(texts, body, cuts)
    except BodyError:
        return BodyError
    except ValueError:
        pass  # no JSON, which is for the parser to say
    return texts.getvalue(), [each.getvalue() for each in texts.found]


@pytest.mark.parametrize(
    "coded",
    [
        "%%%",
        "A",
        "AAAAA",
        "AA==AAAA",
        "AAA=A",
        "=",
        "A=AA",
        "AA\\nAA",
        "QUJD\\u002f",
        "AA AA",
        "\\u0041\\u0041",
    ],
)
@pytest.mark.parametrize("cuts", [(), range(40)], ids=["at once", "byte by byte"])
def test_what_is_no_base64(coded: str, cuts: Sequence[int]) -> None:
    """It is refused, and nothing of it is quoted."""
    with pytest.raises(BodyError) as refused:
        read(Base64Texts("b64_json", 100, 100), f'{{"b64_json":"{coded}"}}'.encode(), cuts)
    assert coded not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"b64_json":"%b"}' % base64.b64encode(bytes(101)),
        b'{"b64_json":"%b","b64_json":"%b"}' % ((base64.b64encode(bytes(51)),) * 2),
        b'{"prompt":"%b"}' % (b"x" * 1_000),
        b'{"b64_json":"AAAA"}' + b" " * 1_000,
        b'{"b64_json":""},' * 20,
    ],
    ids=["an image", "two images", "before", "behind", "many"],
)
def test_what_is_too_much(body: bytes) -> None:
    """Images together, and the JSON around them, have a bound each."""
    with pytest.raises(TooLargeError):
        read(Base64Texts("b64_json", 100, 1_000), body)


def test_a_text_that_does_not_end() -> None:
    """The JSON does not end either, and is none."""
    with pytest.raises(ValueError, match="Unterminated"):
        read(Base64Texts("b64_json", 100, 100), b'{"b64_json":"AAAA')
