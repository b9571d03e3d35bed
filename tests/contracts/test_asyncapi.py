"""The AsyncAPI document: checked in, current, valid, and of one mind with the models.

`asyncapi-3.0.0.json.gz` is AsyncAPI's own schema (Apache-2.0; of @asyncapi/specs 6.11.1).
"""

import gzip
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest

from contracts import asyncapi
from tests.contracts.wire_samples import COMPLETED, FAILED, REQUESTED, without

CHECKED_IN = Path(__file__).parents[2] / "docs/asyncapi.json"
OFFICIAL = Path(__file__).parent / "asyncapi-3.0.0.json.gz"

JOB = str(uuid4())
ASSET = f"https://duragen.example.com/v1/generations/{JOB}/image"

BODIES: list[tuple[str, dict[str, Any], bool]] = [
    ("Request", REQUESTED, True),
    ("Request", {"JobID": JOB, "params": without(REQUESTED, "requestId")}, True),
    ("Request", {"generationRequestId": JOB, "jobDetails": without(REQUESTED, "requestId")}, True),
    ("Request", {"JobID": JOB, "params": without(REQUESTED, "prompt")}, False),
    ("Request", {"params": REQUESTED}, False),
    ("JobCompleted", without(COMPLETED, "imageUrl") | {"JobID": JOB, "assetURL": ASSET}, True),
    ("JobCompleted", COMPLETED | {"JobID": JOB}, False),
    ("JobFailed", FAILED | {"JobID": JOB}, True),
    ("JobFailed", FAILED, False),
]


def test_checked_in_it_is_current() -> None:
    """docs/asyncapi.json holds what the models say today."""
    now = CHECKED_IN.read_text(encoding="utf-8")
    assert now == asyncapi.text(), "it has drifted from the models: run make schemas"


def test_it_is_a_document_of_asyncapi() -> None:
    """By the schema that AsyncAPI publishes."""
    schema = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
    validator = jsonschema_rs.validator_for(schema)
    assert [str(fault)[:500] for fault in validator.iter_errors(asyncapi.document())] == []
    assert not validator.is_valid(asyncapi.document() | {"channels": {"x": {"adress": "y"}}})


def test_every_reference_leads_somewhere() -> None:
    """Within the document alone."""
    whole = asyncapi.document()
    found = _references(whole)
    assert found
    for reference in found:
        here: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            here = here[step]


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_references, node))
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(_references, node.values()))


@pytest.mark.parametrize(("schema", "body", "good"), BODIES)
def test_bodies_are_as_its_schemas_say(schema: str, body: dict[str, Any], *, good: bool) -> None:
    """Each form of a request, and both outcomes."""
    whole = asyncapi.document() | {"$ref": f"#/components/schemas/{schema}"}
    assert jsonschema_rs.Draft202012Validator(whole).is_valid(body) is good
