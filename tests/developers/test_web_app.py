"""The OpenAPI document of the web app's route: checked in, current, and its examples are right."""

import json
from pathlib import Path

import jsonschema_rs

from starter.gateway.developers.web_app import text

DOCUMENT = Path(__file__).parents[2] / "docs/openapi/odoo-web-app.json"


def test_the_file_is_current() -> None:
    """`make schemas` writes it."""
    assert DOCUMENT.read_text() == text()


def test_each_example_is_right() -> None:
    """Of each model; and what is sent has no other names."""
    models = json.loads(DOCUMENT.read_text())["components"]["schemas"]
    assert {*models} == {"Parameters", "Request", "Accepted", "Refusal", "Problem"}
    for schema in models.values():
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        assert [str(fault) for fault in validator.iter_errors(schema["example"])] == []
    asked = models["Parameters"]
    wrong = {**asked["example"], "promt": "?"}
    assert not jsonschema_rs.Draft202012Validator(asked).is_valid(wrong)
