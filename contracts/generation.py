"""What a generation is made of while it lives: plan, routes, image, failure, outcome, state.

These travel between workflow and activities and stand in history, so they are small: references,
never bytes. Fields may be added with a default, never renamed or removed.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from contracts.errors import TAXONOMY, ErrorCode, ErrorKind, ErrorRule
from contracts.events import RequestField

MAX_DETAIL_CHARACTERS = 1_000
"""An operator's detail is cut to this size before it is stored."""


class Model(BaseModel):
    """Immutable and tolerant of fields that a newer version added."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class GenerationState(StrEnum):
    """The state of a generation; the last four are final. Also search attribute GenerationStatus.

    The search attribute is written when it must be (`generating`, `storing`, `parked`, the final
    ones), for each writing is a history event; `planning`, `delivering` and `announcing` are in the
    query and in the current details alone.
    """

    ACCEPTED = "accepted"
    PLANNING = "planning"
    GENERATING = "generating"
    STORING = "storing"
    """The image is paid for and lies on a worker's disk, until the store is back."""
    DELIVERING = "delivering"
    PARKED = "parked"
    ANNOUNCING = "announcing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    ABANDONED = "abandoned"
    """An operator gave the delivery up: there is an outcome, and Odoo never got it."""


class Route(Model):
    """One way to make the image: a provider, its name for the model, its extra parameters."""

    provider: str
    model: str
    parameters: dict[str, Any] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 120
    """How long the service may take for one call."""
    share_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """How long the route may take in all: its queue, its calls, the pauses between them. None: what
    is left of the generation's deadline, divided by the routes that are left."""

    omit: tuple[str, ...] = ()
    """Fields of the service's body that are not sent, for servers that refuse them (`size`,
    `output_format`). `parameters.output_format` then only declares the format."""
    size_tolerance_percent: Annotated[float, Field(ge=0, le=50)] = 0
    """By how much each side may differ from what was asked for, for servers that round sizes."""
    size_by: Literal["pixels", "aspect_ratio"] = "pixels"
    """What the model takes: width and height, or a ratio, and then the pixels are its choice."""
    ignores: tuple[RequestField, ...] = ()
    """Fields of the request that this provider has no place for; found by the planner."""

    @property
    def image_format(self) -> str:
        """The format asked for: the parameter `output_format`, PNG when it is not given."""
        return str(self.parameters.get("output_format", "png"))


def _codes(chosen: Callable[[ErrorRule], bool]) -> tuple[ErrorCode, ...]:
    return tuple(code for code, rule in TAXONOMY.items() if chosen(rule))


class FlowRules(Model):
    """The figures and the rows of the taxonomy by which a generation takes its way.

    Recorded with the plan, so that tuning them breaks no replay of what runs.
    """

    next_route: tuple[ErrorCode, ...] = _codes(lambda rule: rule.next_route)
    """After these the next route is tried."""
    users: tuple[ErrorCode, ...] = _codes(lambda rule: rule.kind is ErrorKind.USER)
    """These complete the workflow; every other code fails it."""
    new_jobs: dict[ErrorCode, int] = {
        ErrorCode.PROVIDER_UNAVAILABLE: 2,
        ErrorCode.INVALID_OUTPUT: 2,
        ErrorCode.JOB_LOST: 1,
        ErrorCode.RESULT_EXPIRED: 1,
    }
    """How often a job that ended so is submitted again. The first two are the spec's 2 retries, for
    a job that the service calls failed or whose image is none; the others are the taxonomy's
    "submit once more". `most_perhaps_paid` bounds them all."""
    new_job_pause_seconds: float = 5
    """Before a submission is made again so. spec: AI service, 2 retries, fixed, 5 s."""
    lost_calls: int = 2
    """How often a call is made again whose reply or whose worker was lost; the spec's 2 retries.
    `most_perhaps_paid` bounds this, too."""
    most_perhaps_paid: int = 2
    """Submissions of one generation that may have been paid for and brought no image: after the
    first, one more is made, on whatever route."""
    least_part: float = 0.25
    """A call begins only while so much of the share that its route has at first is left, or the
    service's own time when that is less. A quarter: so the spec's retries have room before it."""
    store_first_pause_seconds: float = 5
    store_longest_pause_seconds: float = 60
    """Before a store that is away is asked again, while nothing is paid for: the first pause, which
    doubles up to the longest one."""
    spool_seconds: float = 86_400
    """So long the image on a worker's disk is waited for: a day, for a disk that must be carried to
    another machine. Then it is lost: it may have been paid for, and there is none."""
    spool_look_seconds: float = 600
    """The worker that has stored the image says so at once. In case it cannot, the store is asked
    so often."""
    try_parked_seconds: float | None = None
    """After so long a parked outcome is not tried by itself any more; None: it always is."""
    long_history_events: int = 1_000
    """A parked generation continues as new when its history has grown so long. The server's limit
    is 51,200; a parked delivery adds some 17 events an hour, so this is two days and more."""


class Plan(Model):
    """What the settings said when the generation started; recorded, so that they may change.

    Either `routes` or `failure` is set. `odoo` is the origin of the Odoo that gets the outcome, or
    None: then no Odoo may get it, because the callback is not on the allow list.
    """

    routes: tuple[Route, ...] = ()
    odoo: str | None = None
    deadline_seconds: float = 600
    notify: bool = False
    publish: bool = False
    """Whether the outcome is announced at the message broker, too."""
    failure: "Failure | None" = None
    avoided: tuple[str, ...] = ()
    """Providers put last because their circuit is open."""
    rules: FlowRules = FlowRules()


class StoredImage(Model):
    """An image in the store, verified. `size` in bytes, `width`, `height` in pixels."""

    key: str
    format: str
    size: int
    width: int
    height: int
    sha256: str


class Spooled(Model):
    """An image that is paid for and verified, on a worker's disk until the store takes it.

    `where` names the host and the folder, for operators.
    """

    image: StoredImage
    where: str


class Job(Model):
    """A provider's job that was paid for: it is polled, never submitted again."""

    id: str
    polling_url: str
    stoppable: bool = False
    """Whether the provider can stop it: one that is no longer needed is then stopped."""
    free: bool = False
    """Nobody charges for it: it runs in our own cluster."""


class Failure(Model):
    """Why there is no image: `detail` is for operators, `hint` (what to fix) for the user."""

    code: ErrorCode
    detail: Annotated[str, Field(max_length=MAX_DETAIL_CHARACTERS)]
    hint: str | None = None
    perhaps_paid: Annotated[int, Field(ge=0)] = 0
    """Submissions without an image to show for it that the provider may have charged for: their
    reply was lost, their job was accepted, or what they brought was no image. In an `Outcome`, of
    all routes together."""
    repeatable: bool = False
    """It may have been paid for, and another call may bring the image all the same."""
    worker_lost: bool = False
    """The worker died, or left, before the call was over; that says nothing about the provider."""

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
    ignored: tuple[RequestField, ...] = ()
    """Fields of the request that the route which made the image has no place for."""

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
    not_taken: int = 0
    """Rounds in a row that waited in Odoo's queue for as long as they may, and were not tried."""
    since: str | None = None
    """ISO 8601, when it was parked first."""
    next_try: str | None = None
    odoo: str | None = None
    """The origin of the Odoo that has not taken it."""
    held: bool = False
    """That Odoo was known to be away, so it was not tried; it goes on when Odoo is back."""
    rests: bool = False
    """It has been parked for so long that it is tried on request alone."""


class GenerationView(Model):
    """The answer to the query `status`. `progress` is a rough percentage for a progress bar."""

    state: GenerationState
    progress: int
    route: Route | None = None
    avoided: tuple[str, ...] = ()
    """Providers put last when it was planned, because their circuits were open."""
    waits_for: str | None = None
    """What keeps it from going on, where its state does not say that: the store, and why."""
    spooled: Spooled | None = None
    """The image, while it is on its way to the store."""
    outcome: Outcome | None = None
    parked: DeliveryTrouble | None = None
    abandoned: str | None = None
    """Who gave the delivery up, and why; None unless somebody did."""


class Parked(Model):
    """What a generation that has been parked for long takes along when it continues as new."""

    plan: Plan
    outcome: Outcome
    trouble: DeliveryTrouble
