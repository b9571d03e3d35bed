"""What a generation is made of while it lives: plan, routes, image, failure, outcome, state.

These travel between workflow and activities and stand in history, so they are small: references,
never bytes. Fields may be added with a default, never renamed or removed.
"""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field

from contracts.errors import TAXONOMY, ErrorCode, ErrorRule
from contracts.events import GenerationRequested

MAX_DETAIL_CHARACTERS = 1_000
"""An operator's detail is cut to this size before it is stored."""


class Model(BaseModel):
    """Immutable and tolerant of fields that a newer version added."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class GenerationState(StrEnum):
    """The state of a generation; the last four are final. Also search attribute GenerationStatus.

    The search attribute is written when it must be (`generating`, `parked`, the final ones), for
    each writing is a history event; `planning`, `delivering` and `announcing` are in the query and
    in the current details alone.
    """

    ACCEPTED = "accepted"
    PLANNING = "planning"
    GENERATING = "generating"
    DELIVERING = "delivering"
    PARKED = "parked"
    ANNOUNCING = "announcing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    ABANDONED = "abandoned"
    """An operator gave the delivery up: there is an outcome, and Odoo never got it."""


class Route(Model):
    """One way to make the image: a provider, its name for the model, its extra parameters.

    `timeout_seconds` is how long the service may take for one call.
    """

    provider: str
    model: str
    parameters: dict[str, Any] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 120

    @property
    def image_format(self) -> str:
        """The format asked for: the parameter `output_format`, PNG when it is not given."""
        return str(self.parameters.get("output_format", "png"))


class Plan(Model):
    """What the settings said when the generation started; recorded, so that they may change.

    Either `routes` or `failure` is set. `odoo` is the origin of the Odoo that gets the outcome, or
    None: then no Odoo may get it, because the callback's origin is not on the allow list.
    """

    routes: tuple[Route, ...] = ()
    odoo: str | None = None
    deadline_seconds: float = 600
    notify: bool = False
    failure: "Failure | None" = None
    avoided: tuple[str, ...] = ()
    """Providers put last because their circuit is open."""


class StoredImage(Model):
    """An image in the store, verified. `size` in bytes, `width`, `height` in pixels."""

    key: str
    format: str
    size: int
    width: int
    height: int
    sha256: str


class Job(Model):
    """A provider's job that was paid for: it is polled, never submitted again."""

    id: str
    polling_url: str
    stoppable: bool = False
    """Whether the provider can stop it: one that is no longer needed is then stopped."""


class Failure(Model):
    """Why there is no image: `detail` is for operators, `hint` (what to fix) for the user."""

    code: ErrorCode
    detail: Annotated[str, Field(max_length=MAX_DETAIL_CHARACTERS)]
    hint: str | None = None

    @property
    def rule(self) -> ErrorRule:
        """The row of the taxonomy."""
        return TAXONOMY[self.code]

    @property
    def user_message(self) -> str:
        """The friendly text, with the hint where the service named what is wrong."""
        return f"{self.rule.user_message} {self.hint}" if self.hint else self.rule.user_message


class Attempted(Model):
    """A route that was tried and left, and why."""

    route: Route
    failure: Failure


class Outcome(Model):
    """How a generation ended: an image or a failure, and the routes that were left on the way."""

    image: StoredImage | None = None
    failure: Failure | None = None
    tried: tuple[Attempted, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot see through the stacked decorators
    @property
    def state(self) -> GenerationState:
        """`completed`, `failed` or `canceled`."""
        if self.image:
            return GenerationState.COMPLETED
        if self.failure and self.failure.code is ErrorCode.CANCELED:
            return GenerationState.CANCELED
        return GenerationState.FAILED


class DeliveryTrouble(Model):
    """Why an outcome is not with Odoo yet."""

    code: str
    detail: str
    attempts: int = 0
    """Rounds of tries, each as long as the spec's retry policy."""
    since: str | None = None
    """ISO 8601, when it was parked first."""
    next_try: str | None = None


class GenerationView(Model):
    """The answer to the query `status`. `progress` is a rough percentage for a progress bar."""

    state: GenerationState
    progress: int
    route: Route | None = None
    avoided: tuple[str, ...] = ()
    """Providers put last when it was planned, because their circuits were open."""
    outcome: Outcome | None = None
    parked: DeliveryTrouble | None = None
    abandoned: str | None = None
    """Who gave the delivery up, and why; None unless somebody did."""


class SubmitTask(Model):
    """Input of the activity that makes the paid call."""

    request: GenerationRequested
    route: Route
    number: int = 0
    """0 for the first job on this route; one more for each that was submitted again."""


class Submitted(Model):
    """Its result: the image, or the job that will make it."""

    image: StoredImage | None = None
    job: Job | None = None


class CollectTask(Model):
    """Input of the activity that waits for a job and fetches its image."""

    request: GenerationRequested
    route: Route
    job: Job


class Collected(Model):
    """Its result: the image, or nothing when the worker is leaving and hands the job back."""

    image: StoredImage | None = None


class Stopped(Model):
    """Result of the activity that stops a job; its input is a CollectTask."""

    answer: str


class Parked(Model):
    """What a generation that has been parked for long takes along when it continues as new."""

    plan: Plan
    outcome: Outcome
    trouble: DeliveryTrouble


class DeliverTask(Model):
    """Input of the activity that delivers to Odoo; also of the one that notifies the user."""

    request_id: UUID
    correlation_id: UUID
    user_id: UUID
    callback_url: str
    odoo: str
    outcome: Outcome

    @property
    def message_id(self) -> str:
        """The same for every try to deliver this outcome.

        `{requestId}.completed`, `….canceled`, or `….failed.{errorCode}`: a rerun may end otherwise
        than the run before.
        """
        state, failure = self.outcome.state, self.outcome.failure
        code = f".{failure.code}" if failure and state is GenerationState.FAILED else ""
        return f"{self.request_id}.{state}{code}"


class Delivered(Model):
    """Its result: how Odoo answered, for operators."""

    answer: str


class DeliveryDecision(Model):
    """Input of the updates `retry_delivery` and `abandon_delivery`: who decided, and why."""

    by: str = ""
    reason: str = ""
