"""EVT-AIG-002 and EVT-AIG-003: what Odoo gets."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.events import GenerationCompleted, GenerationFailed
from tests.contracts.wire_samples import COMPLETED, FAILED, without


@pytest.mark.parametrize(
    ("model", "example"), [(GenerationCompleted, COMPLETED), (GenerationFailed, FAILED)]
)
def test_round_trip(
    model: type[GenerationCompleted | GenerationFailed], example: dict[str, Any]
) -> None:
    """On the wire camelCase, both ways: nothing is lost and nothing is added."""
    event = model.model_validate_json(json.dumps(example))
    assert json.loads(event.model_dump_json(exclude_none=True)) == example


@pytest.mark.parametrize(
    ("model", "example", "name"),
    [
        *(
            (GenerationCompleted, COMPLETED, name)
            for name in ("requestId", "correlationId", "status", "imageMetadata", "hashValue")
        ),
        *(
            (GenerationFailed, FAILED, name)
            for name in ("requestId", "correlationId", "status", "errorMessage")
        ),
    ],
)
def test_required(
    model: type[GenerationCompleted | GenerationFailed], example: dict[str, Any], name: str
) -> None:
    """A required field of the specification that is missing is named."""
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(without(example, name))
    assert [(e["loc"], e["type"]) for e in refusal.value.errors()] == [((name,), "missing")]


@pytest.mark.parametrize("name", ["format", "size", "width", "height"])
def test_required_of_an_image(name: str) -> None:
    """Each field of imageMetadata is required."""
    metadata = without(COMPLETED["imageMetadata"], name)
    with pytest.raises(ValidationError, match=name):
        GenerationCompleted.model_validate(COMPLETED | {"imageMetadata": metadata})


@pytest.mark.parametrize(
    "changes",
    [
        {"imageUrl": None},
        {"imageData": "aGk="},
        {"status": "failed"},
        {"hashValue": ""},
        {"imageUrl": "generations/a.png"},
        {"imageUrl": None, "imageData": "%%%"},
        {"imageMetadata": {"format": "png", "size": 0, "width": 1, "height": 1}},
        {"imageMetadata": {"format": "png", "size": 1, "width": True, "height": 1}},
        {"payloadVersion": "2"},
    ],
)
def test_completed_refuses(changes: dict[str, Any]) -> None:
    """None or both of data and link, another status, an image of nothing: no such event."""
    with pytest.raises(ValidationError):
        GenerationCompleted.model_validate(COMPLETED | changes)


def test_completed_with_data() -> None:
    """The image itself, as base64, takes the place of the link."""
    event = GenerationCompleted.model_validate(
        COMPLETED | {"imageData": "aGk=", "imageUrl": None, "payloadVersion": "1"}
    )
    assert "imageUrl" not in event.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    "changes", [{"status": "completed"}, {"isUserError": "yes"}, {"errorMessage": None}]
)
def test_failed_refuses(changes: dict[str, Any]) -> None:
    """Another status, a word for a truth value, a null for a text: no such event."""
    with pytest.raises(ValidationError):
        GenerationFailed.model_validate(FAILED | changes)


def test_failed_as_the_specification_has_it() -> None:
    """The additive fields may be absent: the specification's own fields are enough."""
    additive = ("errorType", "isSystemError", "isUserError", "retrySuggestion", "userMessage")
    GenerationFailed.model_validate(without(FAILED, "errorCode", *additive))
