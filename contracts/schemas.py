"""The JSON Schemas of the three events, made from the models.

    python -m contracts.schemas docs/schemas

What a schema cannot say, the models refuse all the same: that `aspectRatio` agrees with
`resolution`, the range of each side, schemes and user names of URLs, base64 that cannot be decoded.
What a schema does not say, for nobody should send it: the models take "" for an optional field of a
request as absent.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from contracts.events import (
    SUPPORTED_MAJOR_VERSION,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    WireModel,
)

EVENTS: dict[str, type[WireModel]] = {
    "AIImageGenerationRequested": GenerationRequested,
    "AIImageGenerationCompleted": GenerationCompleted,
    "AIImageGenerationFailed": GenerationFailed,
}
"""Name of each event, as the specification has it, and its model."""


class Plain(GenerateJsonSchema):
    """Without a title at each field: it would only repeat the name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # the base class's
        """Never."""
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """Without a default of null, which is as if it were absent."""
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made


def schema_of(name: str) -> dict[str, Any]:
    """The schema of the event `name`, draft 2020-12."""
    head = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:duragen:event:{name}:{SUPPORTED_MAJOR_VERSION}",
        "title": name,
    }
    return {**head, **EVENTS[name].model_json_schema(schema_generator=Plain), **head}


def files() -> dict[str, str]:
    """File names and their whole text, the same at every run."""
    return {
        f"{name}.json": json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"
        for name in EVENTS
    }


def write(folder: Path) -> None:
    """Write all of them into `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
