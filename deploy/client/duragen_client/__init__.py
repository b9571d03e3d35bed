"""Clients of Duragen: `GatewayClient` over HTTP, `DuragenClient` and its async twin over Temporal.

`client.py` has the errors and what each method does. Nothing is imported or connected before it is
needed: without the package `temporalio`, `GatewayClient` works all the same.
"""

from .client import (
    AsyncDuragenClient,
    ConflictError,
    DuragenClient,
    DuragenError,
    GenerationFailedError,
    NotFinishedError,
    NotFoundError,
    SetupError,
    Started,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    ValidationError,
)
from .gateway_client import GatewayClient

__all__ = [
    "AsyncDuragenClient",
    "ConflictError",
    "DuragenClient",
    "DuragenError",
    "GatewayClient",
    "GenerationFailedError",
    "NotFinishedError",
    "NotFoundError",
    "SetupError",
    "Started",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "ValidationError",
]
