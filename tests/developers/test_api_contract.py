"""The gateway keeps its OpenAPI document for API users, and that document is whole."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from deploy.local.stack.local_stack import LocalStack
from tests.developers.contract import (
    OPERATIONS,
    TAGS,
    Key,
    call_everything,
    document,
    kept_for,
)
from tests.developers.world import Developer


async def test_the_document_is_kept(developer: Developer) -> None:
    """Whatever is sent with a good key: no 5xx, no answer that the document does not have."""
    answers = await kept_for(developer, examples=6)
    operations = {label for label, _ in answers}
    assert len(operations) == OPERATIONS
    well = {label for label, status in answers if status < 300}
    assert operations - well == set()


async def test_a_wrong_key_gets_no_further(whole: LocalStack) -> None:
    """401 for everything, before anything else is looked at."""
    wrong = "0" * 40
    answers = await asyncio.to_thread(call_everything, document(whole), Key(wrong), examples=2)
    assert {status for _, status in answers} == {401}


# The document itself ----------------------------------------------------------------------------


@pytest.fixture
async def openapi(whole: LocalStack, http: httpx.AsyncClient) -> dict[str, Any]:
    """As the gateway serves it."""
    found: dict[str, Any] = (await http.get(f"{whole.gateway_url}/openapi.json")).json()
    return found


async def test_each_operation_is_described(openapi: dict[str, Any]) -> None:
    """In words, with each parameter, each answer and an example of the body that it takes."""
    for label, operation in operations_of(openapi):
        described = [operation, *operation.get("parameters", [])]
        assert all(each.get("description") for each in described), label
        answers = operation["responses"]
        for status, answer in answers.items():
            assert answer["description"] != "Successful Response", (label, status)
            assert examples_of(openapi, answer), (label, status)
        if body := operation.get("requestBody"):
            assert examples_of(openapi, body), label


async def test_each_example_is_right(openapi: dict[str, Any]) -> None:
    """It is what its own schema says."""
    for label, operation in operations_of(openapi):
        parts = [*operation["responses"].values(), operation.get("requestBody", {})]
        for part in parts:
            for schema, example in examples_of(openapi, part):
                assert_valid(openapi, schema, example, label)
        for parameter in operation.get("parameters", []):
            for example in parameter["schema"].get("examples", []):
                assert_valid(openapi, parameter["schema"], example, label)


async def test_each_model_is_described(openapi: dict[str, Any]) -> None:
    """In words; an object has an example, too."""
    names = {
        name for _, operation in operations_of(openapi) for name in named_in(openapi, operation)
    }
    assert {"AcceptedJob", "Job", "JobError", "Limit", "Webhook", "Delivery"} <= names
    for name in names:
        model = openapi["components"]["schemas"][name]
        assert model.get("description"), name
        if model["type"] == "object":
            assert_valid(openapi, model, model["example"], name)


async def test_each_reference_leads_somewhere(openapi: dict[str, Any]) -> None:
    """From the top of the document, as readers of it look."""
    for reference in references_in(openapi):
        found: Any = openapi
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def operations_of(openapi: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those of API users, with what to call them by."""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            if set(operation["tags"]) & set(TAGS):
                yield f"{method} {path}", operation


def examples_of(openapi: dict[str, Any], part: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Schemas and examples of a body's or an answer's content."""
    found: list[tuple[Any, Any]] = []
    for content in part.get("content", {}).values():
        schema = content["schema"]
        holders = (content, openapi["components"]["schemas"].get(name_of(schema), schema))
        found += [(schema, each["example"]) for each in holders if "example" in each]
    return found


def name_of(schema: dict[str, Any]) -> str:
    """The model that a schema refers to, "" for none."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def assert_valid(openapi: dict[str, Any], schema: Any, example: Any, label: str) -> None:
    """That the example is one of the schema."""
    inside = {**schema, "components": openapi["components"]}
    validator = jsonschema_rs.Draft202012Validator(inside, validate_formats=True)
    assert [str(fault) for fault in validator.iter_errors(example)] == [], label


def references_in(part: Any) -> set[str]:
    """All `$ref`."""
    if isinstance(part, list):
        return set().union(*map(references_in, part))
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own.union(*map(references_in, part.values()))


def named_in(openapi: dict[str, Any], part: Any) -> set[str]:
    """Models that a part of the document leads to, by way of others too."""
    models, names = openapi["components"]["schemas"], set[str]()
    waiting = [part]
    while waiting:
        new = {each.rpartition("/")[2] for each in references_in(waiting.pop())} - names
        names |= new
        waiting += [models[name] for name in new]
    return names
