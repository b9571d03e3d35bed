"""The JSON Schemas of the events: checked in, current, and of one mind with the models."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from contracts import schemas
from tests.contracts.wire_samples import COMPLETED, FAILED, GOOD, REQUESTED, without

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"

REQUESTED_NAME, COMPLETED_NAME, FAILED_NAME = GOOD

EXAMPLES: list[tuple[str, dict[str, Any], bool]] = [
    *((name, event, True) for name, event in GOOD.items()),
    *((name, event | {"addedLater": 1}, True) for name, event in GOOD.items()),
    *((name, event | {"payloadVersion": "1.2"}, True) for name, event in GOOD.items()),
    *((name, event | {"payloadVersion": "2.0"}, False) for name, event in GOOD.items()),
    *(
        (name, without(event, field), False)
        for name, event in GOOD.items()
        for field in schemas.schema_of(name)["required"]
    ),
    *(
        (REQUESTED_NAME, REQUESTED | changes, True)
        for changes in (
            {"prompt": "x" * 32_000},
            {"prompt": "\U0001f3a8" * 32_000},
            {"seed": None},
            {"seed": 5.0},
            {"seed": 2**63 - 1},
            {"cfgScale": 50},
            {"negativePrompt": ""},
            {"callbackUrl": "http://127.0.0.1:8069/x?y=%20z"},
        )
    ),
    *(
        (REQUESTED_NAME, REQUESTED | changes, False)
        for changes in (
            {"prompt": ""},
            {"prompt": "x" * 32_001},
            {"prompt": None},
            {"negativePrompt": "x" * 32_001},
            {"seed": -1},
            {"seed": 2**63},
            {"seed": 1.5},
            {"seed": True},
            {"seed": "5"},
            {"inferenceSteps": 0},
            {"inferenceSteps": 201},
            {"cfgScale": 50.5},
            {"cfgScale": "7"},
            {"resolution": "1024"},
            {"resolution": "1024x768x3"},
            {"aspectRatio": "4/3"},
            {"requestId": "0b6f2c1e3a554a8e9a516a8c9c1f0a01"},
            {"correlationId": "urn:uuid:4bf92f35-77b3-4da6-a3ce-929d0e0e4736"},
            {"campaignId": "none"},
            {"callbackUrl": "/callback"},
            {"callbackUrl": "https://odoo.example.com/a b"},
            {"callbackUrl": "https://odoo.example.com/" + "x" * 2_048},
        )
    ),
    (COMPLETED_NAME, COMPLETED | {"imageData": "aGk="}, False),
    (COMPLETED_NAME, COMPLETED | {"imageData": None}, True),
    (COMPLETED_NAME, without(COMPLETED, "imageUrl"), False),
    (COMPLETED_NAME, COMPLETED | {"imageUrl": None}, False),
    (COMPLETED_NAME, without(COMPLETED, "imageUrl") | {"imageData": "aGk="}, True),
    (COMPLETED_NAME, COMPLETED | {"imageData": "aGk=", "imageUrl": None}, True),
    (COMPLETED_NAME, COMPLETED | {"status": "failed"}, False),
    (COMPLETED_NAME, COMPLETED | {"imageMetadata": {"format": "png"}}, False),
    (COMPLETED_NAME, COMPLETED | {"imageUrl": "not a link"}, False),
    (COMPLETED_NAME, COMPLETED | {"hashValue": ""}, False),
    (FAILED_NAME, without(FAILED, "errorCode"), True),
    (FAILED_NAME, FAILED | {"isUserError": "yes"}, False),
    (FAILED_NAME, FAILED | {"isUserError": 1}, False),
]

BEYOND_A_SCHEMA: list[tuple[str, dict[str, Any]]] = [
    (REQUESTED_NAME, REQUESTED | {"aspectRatio": "16:9"}),
    (REQUESTED_NAME, REQUESTED | {"aspectRatio": "0:3"}),
    (REQUESTED_NAME, REQUESTED | {"resolution": "63x48"}),
    (REQUESTED_NAME, REQUESTED | {"callbackUrl": "ftp://odoo.example.com/"}),
    (REQUESTED_NAME, REQUESTED | {"callbackUrl": "https://me:pw@odoo.example.com/"}),
    (COMPLETED_NAME, without(COMPLETED, "imageUrl") | {"imageData": "%%%"}),
]


def model_takes(name: str, event: dict[str, Any]) -> bool:
    """Whether the model reads the event."""
    try:
        schemas.EVENTS[name].model_validate(event)
    except ValidationError:
        return False
    return True


def schema_takes(name: str, event: dict[str, Any]) -> bool:
    """Whether the event is valid by the schema, formats included."""
    schema = schemas.schema_of(name)
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid(event)


def test_checked_in_schemas_are_current() -> None:
    """docs/schemas holds what the models say today, and nothing besides."""
    found = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
    assert found == schemas.files(), "the schemas have drifted from the models: run make schemas"


def test_written_as_they_are(tmp_path: Path) -> None:
    """What `make schemas` writes is the same at every run, to the byte."""
    schemas.write(tmp_path / "new")
    written = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "new").iterdir()}
    assert written == schemas.files()


@pytest.mark.parametrize("name", list(GOOD))
def test_are_schemas(name: str) -> None:
    """Each is a valid draft 2020-12 schema with an id and the event's name as title."""
    schema = schemas.schema_of(name)
    assert jsonschema_rs.meta.is_valid(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["$id"], schema["title"]) == (f"urn:duragen:event:{name}:1", name)


@pytest.mark.parametrize(("name", "event", "good"), EXAMPLES)
def test_schema_and_model_agree(name: str, event: dict[str, Any], *, good: bool) -> None:
    """Model and schema take the same examples and refuse the same ones."""
    assert (model_takes(name, event), schema_takes(name, event)) == (good, good)


@pytest.mark.parametrize(("name", "event"), BEYOND_A_SCHEMA)
def test_what_a_schema_cannot_say(name: str, event: dict[str, Any]) -> None:
    """A schema cannot say some rules, so the model alone has them: these, and no others known."""
    assert (model_takes(name, event), schema_takes(name, event)) == (False, True)


@pytest.mark.parametrize(
    "field", ["seed", "inferenceSteps", "cfgScale", "campaignId", "payloadVersion"]
)
def test_what_the_model_alone_takes(field: str) -> None:
    """An empty text is no value of these fields: the model takes it as absent, schemas refuse."""
    event = REQUESTED | {field: ""}
    assert model_takes(REQUESTED_NAME, event)
    assert not schema_takes(REQUESTED_NAME, event)
