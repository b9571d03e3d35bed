"""The OpenAPI document of Odoo's callback: checked in, current, and sound."""

from pathlib import Path

import jsonschema_rs
import pytest

from contracts.callback_openapi import document, text
from contracts.callbacks import CALLBACK_PATHS
from tests.contracts.wire_samples import COMPLETED, FAILED

TEST = {name: FAILED[name] for name in ("requestId", "correlationId")} | {"status": "test"}
FILE = Path(__file__).parents[2] / "docs/openapi/odoo-callback.json"


def test_the_file_is_current() -> None:
    """`make schemas` writes it."""
    assert FILE.read_text() == text()


@pytest.mark.parametrize("path", CALLBACK_PATHS)
@pytest.mark.parametrize("event", [COMPLETED, FAILED, TEST])
def test_what_is_sent_is_what_it_says(path: str, event: dict[str, object]) -> None:
    """Each event is one of the bodies, and what is neither is not."""
    whole = document()
    schema = whole["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.validator_for({**schema, "components": whole["components"]})
    assert validator.is_valid(event)
    assert not validator.is_valid({**event, "status": "begun"})
