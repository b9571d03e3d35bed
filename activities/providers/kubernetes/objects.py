"""The few fields of Kubernetes' objects that are looked at."""

from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """A part of an object; what else it has is ignored. Kubernetes leaves out what is empty."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="ignore")


class Metadata(Part):
    """What every object has."""

    name: str
    labels: dict[str, str] | None = None


class Condition(Part):
    """One statement about an object; it holds when `status` is "True"."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None


class _JobStatus(Part):
    conditions: list[Condition] | None = None


class JobObject(Part):
    """A Job and its status."""

    metadata: Metadata
    status: _JobStatus = _JobStatus()

    @property
    def end(self) -> Condition | None:
        """The condition that ended it, of type `Complete` or `Failed`; None while it runs."""
        for condition in self.status.conditions or ():
            if condition.type in {"Complete", "Failed"} and condition.status == "True":
                return condition
        return None


class _ListMetadata(Part):
    resource_version: str


class JobList(Part):
    """The answer to a list of Jobs."""

    metadata: _ListMetadata
    items: list[JobObject] | None = None


class Waiting(Part):
    """Why a container does not run yet."""

    reason: str | None = None
    message: str | None = None


class Terminated(Part):
    """How a container ended; `message` is what it wrote to its termination log."""

    exit_code: int
    reason: str | None = None
    message: str | None = None


class _State(Part):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Part):
    """A container of a pod."""

    name: str
    state: _State = _State()


class PodStatus(Part):
    """The status of a pod."""

    reason: str | None = None
    message: str | None = None
    conditions: list[Condition] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    container_statuses: list[ContainerStatus] | None = None

    @property
    def containers(self) -> list[ContainerStatus]:
        """All of them, in the order in which they start."""
        return [*(self.init_container_statuses or ()), *(self.container_statuses or ())]


class Pod(Part):
    """One run of a Job."""

    metadata: Metadata
    status: PodStatus = PodStatus()


class PodList(Part):
    """The answer to a list of pods."""

    items: list[Pod] | None = None


class WatchEvent(Part):
    """A line of a watch; of type `ERROR` its object is a Status."""

    type: str
    object: dict[str, Any]


class _Decision(Part):
    allowed: bool


class AccessReview(Part):
    """The answer to the question whether the account may do something."""

    status: _Decision


class JobRef(NamedTuple):
    """Where a Job is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """`namespace/name`, as kubectl's users write it."""
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, text: str) -> Self:
        """The inverse of `str`."""
        namespace, _, name = text.partition("/")
        return cls(namespace, name)
