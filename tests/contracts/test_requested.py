"""EVT-AIG-001: what the wire takes, and what it refuses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.events import GenerationRequested, origin_of, parse_resolution
from tests.contracts.wire_samples import REQUESTED, without

REQUIRED = (
    *("requestId", "correlationId", "userId", "prompt", "modelId"),
    *("resolution", "aspectRatio", "callbackUrl"),
)
# spec: event-driven-architecture, EVT-AIG-001, Required Fields

OPTIONAL = (
    "negativePrompt",
    "seed",
    "inferenceSteps",
    "cfgScale",
    "campaignId",
    "cancelAt",
    "payloadVersion",
)


def read(**changes: Any) -> GenerationRequested:
    """The example with `changes`, read from JSON as an entry point reads it."""
    return GenerationRequested.model_validate_json(json.dumps(REQUESTED | changes))


def faulty_fields(**changes: Any) -> set[str]:
    """The fields that are named when the changed example is refused."""
    with pytest.raises(ValidationError) as refusal:
        read(**changes)
    return {".".join(map(str, error["loc"])) for error in refusal.value.errors()}


def test_round_trip() -> None:
    """On the wire camelCase, both ways: nothing is lost and nothing is added."""
    assert json.loads(read().model_dump_json(exclude_none=True)) == REQUESTED


def test_snake_case_in_python() -> None:
    """In Python the same event is built by snake_case names."""
    by_name = GenerationRequested(
        request_id=REQUESTED["requestId"],
        correlation_id=REQUESTED["correlationId"],
        user_id=REQUESTED["userId"],
        prompt=REQUESTED["prompt"],
        model_id=REQUESTED["modelId"],
        resolution="1024x768",
        aspect_ratio="4:3",
        callback_url=REQUESTED["callbackUrl"],
    )
    assert by_name == GenerationRequested.model_validate(without(REQUESTED, *OPTIONAL))
    assert by_name.size == (1_024, 768)


def test_unknown_fields_are_ignored() -> None:
    """A field that a later version adds changes nothing."""
    assert read(style="cubist", nested={"a": [1]}) == read()


@pytest.mark.parametrize("name", REQUIRED)
def test_required(name: str) -> None:
    """A required field of the specification that is missing is named."""
    with pytest.raises(ValidationError) as refusal:
        GenerationRequested.model_validate(without(REQUESTED, name))
    assert [(e["loc"], e["type"]) for e in refusal.value.errors()] == [((name,), "missing")]


@pytest.mark.parametrize("name", OPTIONAL)
def test_optional(name: str) -> None:
    """Each other field may be absent."""
    GenerationRequested.model_validate(without(REQUESTED, name))


def test_every_field_is_in_the_specification() -> None:
    """The model has the specification's fields, payloadVersion and cancelAt, no other."""
    names = {field.alias for field in GenerationRequested.model_fields.values()}
    assert names == {*REQUIRED, *OPTIONAL}


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "x"},
        {"prompt": "x" * 32_000},
        {"prompt": "\U0001f3a8" * 32_000},  # characters are counted, not bytes
        {"prompt": "two\nlines\tand a tab"},
        {"negativePrompt": ""},
        {"negativePrompt": "x" * 32_000},
        {"resolution": "64x64", "aspectRatio": "1:1"},
        {"resolution": "4096x4096", "aspectRatio": "1:1"},
        {"resolution": "4096x64", "aspectRatio": "64:1"},
        {"resolution": "1039x1000", "aspectRatio": "1:1"},  # 3.9 % above
        {"resolution": "961x1000", "aspectRatio": "1:1"},  # 3.9 % below
        {"resolution": "1344x768", "aspectRatio": "7:4"},
        {"seed": 0},
        {"seed": 2**63 - 1},
        {"seed": 42.0},
        {"inferenceSteps": 1},
        {"inferenceSteps": 200},
        {"cfgScale": 0},
        {"cfgScale": 50},
        {"cfgScale": 7},
        {"payloadVersion": "1"},
        {"payloadVersion": "1.99.3"},
        {"callbackUrl": "http://127.0.0.1:8069/callback?a=%C3%BC#x"},
        {"callbackUrl": "http://[::1]:8069/"},
        {"callbackUrl": "https://odoo.example.com/" + "x" * (2_048 - 25)},
        {"requestId": "0B6F2C1E-3A55-4A8E-9A51-6A8C9C1F0A01"},
        {"seed": None, "inferenceSteps": None, "cfgScale": None, "campaignId": None},
    ],
)
def test_inside_the_bounds(changes: dict[str, Any]) -> None:
    """What stands on a bound is taken."""
    read(**changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 32_001),
        ("prompt", 7),
        ("negativePrompt", "x" * 32_001),
        ("resolution", "63x64"),
        ("resolution", "64x63"),
        ("resolution", "4097x4096"),
        ("resolution", "4096x4097"),
        ("resolution", "1024"),
        ("resolution", "1024X768"),
        ("resolution", " 1024x768"),
        ("resolution", "1024x768\n"),
        ("resolution", "-1024x768"),
        ("resolution", "1e3x768"),
        (
            "resolution",
            "\u0661\u0660\u0662\u0664x\u0667\u0666\u0668",
        ),  # digits all the same, but not the wire's
        ("resolution", "9" * 4_301 + "x768"),
        ("aspectRatio", "4/3"),
        ("aspectRatio", "0:1"),
        ("aspectRatio", "4:0"),
        ("aspectRatio", "4:3\n"),
        ("aspectRatio", "1.33:1"),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 10**400),
        ("seed", 1.5),
        ("seed", True),
        ("seed", "42"),
        ("seed", float("nan")),
        ("inferenceSteps", 0),
        ("inferenceSteps", 201),
        ("inferenceSteps", True),
        ("cfgScale", -0.1),
        ("cfgScale", 50.1),
        ("cfgScale", True),
        ("cfgScale", "7.5"),
        ("cfgScale", float("nan")),
        ("cfgScale", float("inf")),
        ("requestId", "not-a-uuid"),
        ("requestId", "0b6f2c1e3a554a8e9a516a8c9c1f0a01"),
        ("correlationId", "urn:uuid:4bf92f35-77b3-4da6-a3ce-929d0e0e4736"),
        ("userId", "{7a0f4a0e-52cf-4e0c-8a35-6f2d6dc1a002}"),
        ("modelId", 7),
        ("campaignId", " "),
        ("callbackUrl", "/callback"),
        ("callbackUrl", "ftp://odoo.example.com/"),
        ("callbackUrl", "javascript:alert(1)"),
        ("callbackUrl", "https:///callback"),
        ("callbackUrl", "https://user:secret@odoo.example.com/"),
        ("callbackUrl", "https://user@odoo.example.com/"),
        ("callbackUrl", "https://odoo.example.com:0/"),
        ("callbackUrl", "https://odoo.example.com:99999/"),
        ("callbackUrl", "https://[::1/"),
        ("callbackUrl", "https://odoo.example.com/a b"),
        ("callbackUrl", "https://odoo.example.com/\r\nX-Evil: 1"),
        ("callbackUrl", "https://odoo.example.com/\x7f"),
        ("callbackUrl", "https://odoo.example.com\\@evil.example.com/"),
        ("callbackUrl", "https://ödoo.example.com/"),
        ("callbackUrl", "https://odoo.example.com/%zz"),
        ("callbackUrl", "https://odoo.example.com/" + "x" * 2_048),
        ("payloadVersion", "2"),
        ("payloadVersion", "0.9"),
        ("payloadVersion", "01"),
        ("payloadVersion", "one"),
        ("payloadVersion", "1."),
        ("payloadVersion", 1),
    ],
)
def test_outside_the_bounds(field: str, value: Any) -> None:
    """What is outside a bound, or of another type, is refused by its name."""
    assert faulty_fields(**{field: value}) == {field}


def test_lone_surrogates_are_refused() -> None:
    r"""Half of a surrogate pair ("\ud800") is no text: it can be neither stored nor sent."""
    assert faulty_fields(prompt="\ud800") == {""}  # the JSON itself is refused
    with pytest.raises(ValidationError):
        GenerationRequested.model_validate(REQUESTED | {"prompt": "\ud800"})


def test_unsupported_version_is_explained() -> None:
    """An unsupported major version is refused with what to send instead."""
    with pytest.raises(ValidationError, match="major version 2 is not supported; send version 1"):
        read(payloadVersion="2.0")


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_empty_text_is_absent(name: str) -> None:
    """Forms and N8N send a blank optional field as "": that is no value, of any type."""
    assert read(**{name: ""}) == read(**{name: None})


@pytest.mark.parametrize("name", REQUIRED)
def test_an_empty_text_is_no_required_field(name: str) -> None:
    """A required field that is empty is refused by its name."""
    assert faulty_fields(**{name: ""}) == {name}


@pytest.mark.parametrize(("name", "text"), [("seed", "42"), ("cfgScale", "7.5")])
def test_a_number_as_text_is_explained(name: str, text: str) -> None:
    """A number in quotes is refused with what to send instead, without what was sent."""
    with pytest.raises(ValidationError, match="must be a number without quotes") as refusal:
        read(**{name: text})
    assert text not in refusal.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("resolution", "ratio"),
    [
        ("1024x1024", "1:1"),
        ("1152x896", "4:3"),
        ("896x1152", "3:4"),
        ("1216x832", "3:2"),
        ("832x1216", "2:3"),
        ("1344x768", "16:9"),
        ("768x1344", "9:16"),
        ("1536x640", "21:9"),
        ("640x1536", "9:21"),
    ],
)
def test_sizes_that_sdxl_was_trained_on(resolution: str, ratio: str) -> None:
    """They pass under their usual names, although none but the square is exact."""
    assert read(resolution=resolution, aspectRatio=ratio).aspect_ratio == ratio


COMMON = {
    "1:1": "1024x1024",
    "6:5": "1200x1000",
    "5:4": "1280x1024",
    "4:3": "1024x768",
    "7:5": "1400x1000",
    "3:2": "1536x1024",
    "16:10": "1600x1000",
    "5:3": "1280x768",
    "16:9": "1920x1080",
    "2:1": "2048x1024",
    "21:9": "2100x900",
}
"""Ratios in common use, from square to wide, each with a resolution that is exact."""


@pytest.mark.parametrize(
    ("ratio", "other"), [(a, b) for a in COMMON for b in COMMON if a != b], ids=str
)
def test_common_ratios_are_kept_apart(ratio: str, other: str) -> None:
    """The exact size of one is no size of another."""
    assert faulty_fields(resolution=COMMON[ratio], aspectRatio=other) == {""}
    across, down = COMMON[ratio].split("x")
    upright = ":".join(reversed(other.split(":")))
    assert faulty_fields(resolution=f"{down}x{across}", aspectRatio=upright) == {""}


@pytest.mark.parametrize(
    ("resolution", "ratio", "exact"),
    [
        ("104x100", "1:1", "26:25"),  # 4 % above, to the point
        ("96x100", "1:1", "24:25"),  # 4 % below, to the point
        ("1024x768", "3:4", "4:3"),
        ("4096x4096", "99999:1", "1:1"),
        ("1168x800", "4:3", "73:50"),
    ],
)
def test_ratio_that_disagrees(resolution: str, ratio: str, exact: str) -> None:
    """Of 4 % on, resolution and aspectRatio disagree; the refusal names the ratio that fits."""
    wanted = f"aspectRatio {ratio} does not agree with resolution {resolution}, which is {exact}"
    with pytest.raises(ValidationError, match=wanted):
        read(resolution=resolution, aspectRatio=ratio)
    read(resolution=resolution, aspectRatio=exact)


def test_several_faults_are_all_named() -> None:
    """A request with three faults learns of all three at once."""
    assert faulty_fields(prompt="", seed=-1, cfgScale=99) == {"prompt", "seed", "cfgScale"}


@given(st.integers(64, 4_096), st.integers(64, 4_096))
def test_resolution_is_read_back(width: int, height: int) -> None:
    """Every resolution in range is read as width and height."""
    assert parse_resolution(f"{width}x{height}") == (width, height)


@given(st.text())
def test_any_text_as_resolution(text: str) -> None:
    """Any text is either a resolution or a ValueError, and nothing else happens."""
    try:
        width, height = parse_resolution(text)
    except ValueError:
        return
    assert text == f"{width}x{height}" or text.lstrip("0")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Odoo.Example.com/callback", "https://odoo.example.com"),
        ("https://odoo.example.com:443/", "https://odoo.example.com"),
        ("http://odoo.example.com:80/", "http://odoo.example.com"),
        ("http://odoo.example.com:443/", "http://odoo.example.com:443"),
        ("HTTP://odoo.example.com:8069/x?y#z", "http://odoo.example.com:8069"),
        ("http://[::1]:8069/", "http://[::1]:8069"),
        ("https://odoo.example.com.evil.example/", "https://odoo.example.com.evil.example"),
    ],
)
def test_origin(url: str, origin: str) -> None:
    """The origin is what allow lists compare: lower case, no default port, no path."""
    assert origin_of(url) == origin
