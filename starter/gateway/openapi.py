"""Schemas as they stand inside an OpenAPI document, and headers that operations share."""

from typing import Any

from pydantic import BaseModel


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema in one piece: `$defs` of its own would not be found from outside."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(each) for each in part]
        if not isinstance(part, dict):
            return part
        name = str(part.get("$ref", "")).removeprefix("#/$defs/")
        more = {key: whole(value) for key, value in part.items() if key != "$ref"}
        return {**whole(definitions[name]), **more} if name else more

    found: dict[str, Any] = whole(schema)
    return found


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of an operation that reads its body by itself."""
    content = {"application/json": {"schema": schema_of(model)}}
    return {"requestBody": {"required": True, "content": content}}


def header(text: str, schema_type: str = "string", **more: Any) -> dict[str, Any]:
    """A header of an answer."""
    return {"description": text, "schema": {"type": schema_type, **more}}
