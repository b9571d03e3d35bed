"""The protocols that the sandbox image service speaks: a new one is one more entry.

The stack makes a key, a provider and a model of each entry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from starlette.routing import Route

from deploy.local.sandbox.images.flux import FluxApi
from deploy.local.sandbox.images.openai import MODELS, OpenAIApi
from deploy.local.sandbox.images.service import ImageService


class Api(Protocol):
    """One protocol of the sandbox."""

    def routes(self) -> list[Route]:
        """What Starlette mounts."""


@dataclass(frozen=True)
class ImageProtocol:
    """One protocol, and the provider of that kind in the stack's settings.

    `model_id` is the `modelId` that goes to it, `model` the service's own name for it.
    """

    kind: str
    api: Callable[[ImageService, str], Api]
    model_id: UUID
    title: str
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the provider beside kind, address and key."""

    @property
    def key_variable(self) -> str:
        """The variable by which the sandbox gets its key; without one, any key will do."""
        return f"DURAGEN_SANDBOX_{self.kind.upper()}_KEY"


FLUX_MODEL_ID = UUID("11111111-1111-4111-8111-111111111111")
OPENAI_MODEL_ID = UUID("22222222-2222-4222-8222-222222222222")

PROTOCOLS = (
    ImageProtocol("openai", OpenAIApi, OPENAI_MODEL_ID, "GPT Image 2.5 flare", MODELS[1]),
    # Last: FLUX has the model's name in the path, which matches every path.
    ImageProtocol(
        "flux", FluxApi, FLUX_MODEL_ID, "FLUX.2 pro", "flux-2-pro", {"poll_seconds": 0.25}
    ),
)
