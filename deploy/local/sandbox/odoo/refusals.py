"""Refusals of the sandbox's `duragen.api`, and moments as its answers have them."""

from datetime import UTC, datetime
from typing import Any

NO_PAGE = "after: is not the `next` of a page"


class RefusedError(Exception):
    """Raised inside a method; `answer` is what the caller gets."""

    def __init__(self, code: str, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.answer: dict[str, Any] = {
            "ok": False,
            "error": code,
            "httpStatus": status,
            "message": message,
            "retryAfter": None,
            **more,
        }


def iso(at: float) -> str:
    """Seconds since 1970 as ISO 8601, in whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).isoformat().replace("+00:00", "Z")
