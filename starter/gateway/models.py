"""What the gateway answers; the OpenAPI document is made from these."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field

from contracts.connection import MOST_MODELS
from contracts.errors import ErrorCode, ErrorKind
from contracts.events import HttpUrl, Uuid, WireModel
from contracts.generation import Failure, GenerationState

EXAMPLE_EVENT: dict[str, Any] = {
    "requestId": "3f0c7f3e-6d0b-4a86-9a0e-0d6a3c1b5a01",
    "correlationId": "b7d2a6f0-2a0c-4a60-8f1e-5f6b8f4c9d02",
    "userId": "5a1c2b3d-4e5f-4a6b-8c7d-9e0f1a2b3c04",
    "prompt": "a lighthouse at dawn, watercolour",
    "modelId": "0b6f4b1e-8f4d-4c7e-9b39-6c8a2f1d7e05",
    "resolution": "1024x1024",
    "aspectRatio": "1:1",
    "callbackUrl": "https://odoo.example.com/api/v1/influencegen/ai-image-callback",
    "seed": 42,
}


class Accepted(WireModel):
    """The generation is durable: it will end, and Odoo will get its outcome, whatever breaks."""

    request_id: UUID
    correlation_id: UUID
    workflow_id: Annotated[str, Field(examples=[f"generation-{EXAMPLE_EVENT['requestId']}"])]
    run_id: str
    created: Annotated[bool, Field(description="False when the same request was sent before.")]
    status_url: Annotated[str, Field(examples=[f"/v1/generations/{EXAMPLE_EVENT['requestId']}"])]


class WebhookDelivery(WireModel):
    """One webhook of an API user, for Duragen to deliver; `source` is the Odoo's own route."""

    delivery_id: Uuid
    source: HttpUrl
    receiver: Annotated[str, Field(min_length=1, max_length=64)]
    request_id: Uuid | None = None
    correlation_id: Uuid | None = None


class WebhookAccepted(WireModel):
    """It is durable. `created` is False when it was started before."""

    workflow_id: str
    created: bool


class ConnectionTestRequest(WireModel):
    """Which models an Odoo offers, and where its outcomes come back."""

    test_id: Uuid
    correlation_id: Uuid
    model_ids: Annotated[tuple[Uuid, ...], Field(max_length=MOST_MODELS)] = ()
    callback_url: HttpUrl | None = None


class CallbackFinding(WireModel):
    """What came of the test event; `ok` is null when no call was made."""

    ok: bool | None
    detail: str


class ConnectionReport(WireModel):
    """What was found. Nothing was generated."""

    workflow_id: str
    missing_attributes: Annotated[
        list[str], Field(description="Search attributes that Temporal's namespace lacks.")
    ]
    create_attributes: Annotated[str, Field(description="The command that adds them.")]
    unserved_queues: Annotated[
        list[str], Field(description="Task queues that no worker polls; for operators' keys.")
    ]
    answered: Annotated[bool, Field(description="Whether a worker answered in time.")]
    unknown_models: list[UUID]
    callback: CallbackFinding


class CancelAnswer(WireModel):
    """`cancelRequested` is False when the generation had already ended."""

    request_id: UUID
    workflow_id: str
    cancel_requested: bool
    status_url: str


class RedeliverAnswer(WireModel):
    """The outcome is being delivered again; the status says how it goes."""

    request_id: UUID
    workflow_id: str
    status_url: str


class RouteView(WireModel):
    """The image service at work, and its own name for the model."""

    provider: str
    model: str


class ImageView(WireModel):
    """The stored image: its key in the store, size in bytes, sides in pixels."""

    key: str
    format: str
    size: int
    width: int
    height: int
    sha256: str


class ErrorView(WireModel):
    """Why there is no image. What operators know beyond this (`detail`) is not for callers."""

    code: ErrorCode
    kind: ErrorKind
    user_message: str
    retry_suggestion: Annotated[bool, Field(description="Whether the user should try again.")]
    hint: str | None = None
    may_have_been_paid: Annotated[
        bool, Field(description="Whether the image service may have charged for it all the same.")
    ] = False

    @classmethod
    def of(cls, error: dict[str, Any]) -> Self:
        """From a recorded failure; a code that is not known yet becomes INTERNAL."""
        known = error["code"] in set(ErrorCode)
        code = ErrorCode(error["code"]) if known else ErrorCode.INTERNAL
        failure = Failure(code=code, detail=error["detail"], hint=error.get("hint"))
        return cls(
            code=code,
            kind=failure.rule.kind,
            user_message=failure.user_message,
            retry_suggestion=failure.rule.retry_suggestion,
            hint=failure.hint,
            may_have_been_paid=bool(error.get("mayHaveBeenPaid")),
        )


class ParkedView(WireModel):
    """Why Odoo does not have the outcome yet, and when it is delivered again."""

    code: str
    attempts: int
    next_try: str | None = None
    rests: Annotated[
        bool, Field(description="Parked for so long that it is delivered on request alone.")
    ] = False


class GenerationStatus(WireModel):
    """Where a generation stands. `image` or `error` is there when the state is final."""

    request_id: UUID
    workflow_id: str
    run_id: str
    state: GenerationState
    progress: Annotated[int, Field(ge=0, le=100, description="Roughly, in percent.")]
    route: RouteView | None = None
    image: ImageView | None = None
    error: ErrorView | None = None
    parked: ParkedView | None = None
    ignored_fields: Annotated[
        list[str], Field(description="Fields of the request that the image service cannot carry.")
    ] = Field(default_factory=list)

    @classmethod
    def of(cls, status: dict[str, Any]) -> Self:
        """From what the client's `status` answers."""
        error = ErrorView.of(status["error"]) if status["error"] else None
        return cls.model_validate({**status, "error": error})


class Health(WireModel):
    """The process lives; `ready` says that Temporal answers too."""

    status: Literal["live", "ready"]
