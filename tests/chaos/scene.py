"""What a row's stack is like."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from deploy.local.sandbox.images.openai import MODELS
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.stack.config import TWO_ROUTES_MODEL_ID


@dataclass(frozen=True)
class Scene:
    """What a row's stack is like, where it is not like the others'."""

    latency_seconds: float = 0.5
    """What an image takes while all is well, so that calls are in flight when something dies."""
    route_seconds: float = 5
    """How long the image service may take for one call: hanging ones end soon."""
    deadline_seconds: float = 600
    grace_seconds: float = 10
    flux_first: bool = False
    """All requests are for the model with two routes, and FLUX is the first of them."""
    relayed: float = 0
    """The share of outcomes that go to a second Odoo, whose line a row can silence."""
    store_line: bool = False
    """The worker reaches the store by a line that a row can break."""
    poll_seconds: float = 1
    """Between two polls of a job: where all jobs wait, polling must not be the load."""

    @property
    def models(self) -> tuple[UUID, ...]:
        """What is asked for, in turn."""
        if self.flux_first:
            return (TWO_ROUTES_MODEL_ID,)
        return (OPENAI_MODEL_ID, FLUX_MODEL_ID) * 2 + (TWO_ROUTES_MODEL_ID,)

    @property
    def overrides(self) -> dict[str, Any]:
        """Over the stack's own settings."""
        openai = {"provider": "openai", "model": MODELS[1], "timeout_seconds": self.route_seconds}
        flux = {"provider": "flux", "model": "flux-2-pro", "timeout_seconds": self.route_seconds}
        routes = {
            OPENAI_MODEL_ID: [openai],
            FLUX_MODEL_ID: [flux],
            TWO_ROUTES_MODEL_ID: [flux, openai] if self.flux_first else [openai, flux],
        }
        return {
            "models": {str(model_id): {"routes": each} for model_id, each in routes.items()},
            "providers": {"flux": {"poll_seconds": self.poll_seconds}},
            "generation": {"deadline_seconds": self.deadline_seconds},
            "worker": {"graceful_seconds": self.grace_seconds},
        }
