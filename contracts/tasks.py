"""What activities, signals and updates take and return.

It stands in history, as do its parts (`contracts.generation`): fields may be added with a default,
never renamed or removed.
"""

from uuid import UUID

from contracts.events import GenerationRequested, RequestField, RequestHead
from contracts.generation import (
    Failure,
    GenerationState,
    Job,
    Model,
    Outcome,
    Route,
    Spooled,
    StoredImage,
)


class PlanTask(Model):
    """Input of the activity that plans: where the outcome goes, which model, what shapes the image.

    Without prompt: it stands in history often enough.
    """

    head: RequestHead
    asks: tuple[RequestField, ...] = ()


class SubmitTask(Model):
    """Input of the activity that makes the paid call."""

    request: GenerationRequested
    route: Route
    number: int = 0
    """0 for the first job on this route; one more for each that was submitted again."""
    seconds: float | None = None
    """The route's share of the time, from when the activity was scheduled; None is no limit."""
    least_seconds: float = 0
    """A call is not begun when less of that is left: it would be paid for and cut off."""
    owner: str = ""
    """Whose the generation is; see `contracts.names.workflow_id`."""


class SubmitMark(Model):
    """What an attempt of `submit` leaves in its heartbeat, for the workflow and for the next one.

    `settled` says that no submission is open: none was sent, or its answer is known. Who finds no
    settled mark of an attempt that has died knows that a submission may have been paid for.
    """

    settled: bool = False
    job: Job | None = None

    @property
    def open(self) -> bool:
        """Whether whoever left this and died may have left a paid call without a reply."""
        return not self.settled and self.job is None


class Submitted(Model):
    """Its result: the image, in the store or on its way there; or the job that will make it."""

    image: StoredImage | None = None
    spooled: Spooled | None = None
    job: Job | None = None
    recovered: bool = False
    """The job was accepted by an attempt that was counted as perhaps paid: it was no loss."""


class CollectTask(Model):
    """Input of the activity that waits for a job and fetches its image."""

    request: GenerationRequested
    route: Route
    job: Job
    seconds: float | None = None
    """How long the job may still take, from when the activity was scheduled; None is no limit."""
    owner: str = ""
    """Whose the generation is; see `contracts.names.workflow_id`."""


class CutOff(Model):
    """Input of the activity that reports a call which the server ended; its result is a Failure.

    `queue` is the task queue that the call was put into.
    """

    request_id: UUID
    correlation_id: UUID
    provider: str
    queue: str
    failure: Failure


class Collected(Model):
    """Its result: the image, in the store or on its way there.

    Neither when the worker is leaving and hands the job back.
    """

    image: StoredImage | None = None
    spooled: Spooled | None = None


class FindTask(Model):
    """Input of the activity that looks whether an image has reached the store."""

    request: GenerationRequested
    route: Route
    owner: str = ""
    """Whose the generation is; see `contracts.names.workflow_id`."""


class Found(Model):
    """Its result: the image, None while it is not there."""

    image: StoredImage | None = None


class SpoolNews(Model):
    """The signal by which a worker's spool says what became of an image: it is in the store.

    Or it is lost, and then `failure` says why. `sha256` is how the hash of its bytes begins:
    a run hears of its own image alone. The store may have had another image of the request before.
    """

    image: StoredImage | None = None
    failure: Failure | None = None
    sha256: str = ""


class Stopped(Model):
    """Result of the activity that stops a job; its input is a CollectTask."""

    answer: str


class DeliverTask(Model):
    """Input of the activity that delivers to Odoo; also of the one that notifies the user."""

    request_id: UUID
    correlation_id: UUID
    user_id: UUID
    callback_url: str
    odoo: str
    outcome: Outcome
    asked: bool = False
    """Somebody asks for this try: whether Odoo is away is then looked up anew."""
    trial: bool = False
    """This try is to find out whether Odoo is back: it is made although Odoo is away."""
    owner: str = ""
    """Whose the generation is; see `contracts.names.workflow_id`."""

    @property
    def message_id(self) -> str:
        """The same for every try to deliver this outcome.

        `{requestId}.completed`, `….canceled`, or `….failed.{errorCode}`: a rerun may end otherwise
        than the run before. With an owner, `.{owner}` follows.
        """
        state, failure = self.outcome.state, self.outcome.failure
        code = f".{failure.code}" if failure and state is GenerationState.FAILED else ""
        owner = f".{self.owner}" if self.owner else ""
        return f"{self.request_id}.{state}{code}{owner}"


class Delivered(Model):
    """Its result: how Odoo answered, for operators."""

    answer: str


class DeliveryDecision(Model):
    """Input of the updates `retry_delivery` and `abandon_delivery`: who decided, and why."""

    by: str = ""
    reason: str = ""
    trial: bool = False
    """One attempt, to find out whether an Odoo that is away is back."""
