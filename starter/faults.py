"""What is wrong with an event, field by field, without the values that were sent."""

from collections.abc import Sequence
from typing import Any, Protocol


class Faulty(Protocol):
    """Pydantic's ValidationError, and FastAPI's of the same shape."""

    def errors(self) -> Sequence[Any]:
        """One {"loc", "type", "msg"} for each fault."""


def field_faults(error: Faulty) -> list[dict[str, str]]:
    """One {"field", "rule", "message"} for each of pydantic's faults."""
    return [
        {
            # The one rule that spans fields (aspectRatio against resolution) has no place.
            "field": ".".join(str(p) for p in fault["loc"] if p != "path") or "aspectRatio",
            "rule": fault["type"],
            "message": fault["msg"].removeprefix("Value error, "),
        }
        for fault in error.errors()
    ]
