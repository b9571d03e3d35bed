"""What API users send and get; the OpenAPI document is made from these."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field

from contracts.events import NumberAlone, Prompt, Resolution, Uuid, WireModel

EXAMPLE_PARAMETERS: dict[str, Any] = {
    "prompt": "a lighthouse at dawn, watercolour",
    "modelId": "0b6f4b1e-8f4d-4c7e-9b39-6c8a2f1d7e05",
    "resolution": "1024x1024",
}
EXAMPLE_ID = "3f0c7f3e-6d0b-4a86-9a0e-0d6a3c1b5a01"
CREATED_AT = "2026-11-27T08:00:00Z"
_STATUS_URL = f"https://api.example.com/v1/generate/{EXAMPLE_ID}/status"
EXAMPLE_ACCEPTED: dict[str, Any] = {
    "jobId": EXAMPLE_ID,
    "status": "pending",
    "price": 1,
    "createdAt": CREATED_AT,
    "cancelAt": None,
    "statusUrl": _STATUS_URL,
}
EXAMPLE_JOB: dict[str, Any] = {
    "jobId": EXAMPLE_ID,
    "correlationId": "1b9c8a52-5f0e-4a54-a3c8-9a2f0f0e7b22",
    "status": "completed",
    **EXAMPLE_PARAMETERS,
    "price": 1,
    "charged": True,
    "cancelRequested": False,
    "imageUrl": f"https://images.example.com/generations/{EXAMPLE_ID}.png",
    "error": None,
    "createdAt": CREATED_AT,
    "cancelAt": None,
    "endedAt": "2026-11-27T08:00:09Z",
    "statusUrl": _STATUS_URL,
}
_EXAMPLE_ERROR = {
    "code": "CONTENT_REJECTED",
    "message": "The image service does not make this.",
    "retrySuggestion": False,
}
_EXAMPLE_LIMIT = {"name": "minute", "limit": 10, "remaining": 9, "reset": 60}


def example(value: dict[str, Any]) -> ConfigDict:
    """The configuration of a model that has this example in the OpenAPI document."""
    return ConfigDict(json_schema_extra={"example": value})


# Odoo's own word for "there is none".
Absent = BeforeValidator(lambda value: None if value is False else value)


class Parameters(WireModel):
    """What the image is to be. What a model does not take is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": EXAMPLE_PARAMETERS})

    prompt: Annotated[Prompt, Field(min_length=1)]
    model_id: Annotated[Uuid, Field(description="A model of Odoo's catalogue.")]
    resolution: Annotated[
        Resolution | None, Field(description="One of the model's; its first when absent.")
    ] = None
    negative_prompt: Prompt | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), NumberAlone] | None = None
    inference_steps: Annotated[int, Field(ge=1, le=200), NumberAlone] | None = None
    cfg_scale: Annotated[float, Field(gt=0, le=50, allow_inf_nan=False), NumberAlone] | None = None
    campaign_id: Annotated[Uuid | None, Field(description="Any, to find its images by.")] = None


class JobState(StrEnum):
    """pending: charged, not taken by Duragen yet; the last three are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is to come, but an image that operators make after a failure."""
        return self not in {JobState.PENDING, JobState.PROCESSING}


class AcceptedJob(WireModel):
    """The job is charged and durable: it ends, whatever breaks. Each repeat gets the same."""

    model_config = example(EXAMPLE_ACCEPTED)

    job_id: UUID
    status: Annotated[JobState, Field(description="Always pending: what was true at first.")]
    price: Annotated[int, Field(description="Credits; they come back when we fail.")]
    created_at: str
    cancel_at: str | None = None
    status_url: str


class JobError(WireModel):
    """Why there is no image; `message` is for people."""

    model_config = example(_EXAMPLE_ERROR)

    code: str
    message: str
    retry_suggestion: bool


class Job(WireModel):
    """Where a job stands."""

    model_config = example(EXAMPLE_JOB)

    job_id: UUID
    correlation_id: Annotated[UUID, Field(description="Finds it in every log and trace.")]
    status: JobState
    prompt: str
    model_id: UUID
    resolution: str
    price: Annotated[int, Field(description="Credits.")]
    charged: Annotated[bool, Field(description="Whether the price is taken, as it stands now.")]
    cancel_requested: bool
    image_url: Annotated[
        str | None, Field(description="A link to the image, for an hour; ask again for another.")
    ] = None
    error: JobError | None = None
    created_at: str
    cancel_at: Annotated[str | None, Absent] = None
    ended_at: Annotated[str | None, Absent] = None
    status_url: str


class Jobs(WireModel):
    """One page of the list, the newest first."""

    model_config = example({"jobs": [EXAMPLE_JOB], "next": None})

    jobs: list[Job]
    next: Annotated[
        UUID | None, Field(description="`cursor` of the next page; null on the last.")
    ] = None


class Limit(WireModel):
    """One of the limits on submissions; `reset` in seconds."""

    model_config = example(_EXAMPLE_LIMIT)

    name: Annotated[str, Field(description="minute, day or month.")]
    limit: int
    remaining: int
    reset: int


class Estimate(WireModel):
    """What the same parameters would cost; nothing is made or charged."""

    model_config = example(
        {"price": 1, "balance": 20, "balanceAfter": 19, "limits": [_EXAMPLE_LIMIT]}
    )

    price: Annotated[int, Field(description="Credits.")]
    balance: Annotated[int, Field(description="Credits that may be spent.")]
    balance_after: Annotated[int, Field(description="Below 0: the credits do not suffice.")]
    limits: list[Limit]
