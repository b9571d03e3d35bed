"""What the activities ask of an image service, whichever it is."""

from typing import NamedTuple, Protocol

from activities.memory import Admit
from contracts.generation import Job
from contracts.tasks import CollectTask, SubmitTask


class JobProgress(NamedTuple):
    """What a poll says: `result_url` once there is an image; `percent` where it is known."""

    result_url: str | None = None
    percent: int | None = None


class ImageService(Protocol):
    """One image service. Every method raises ProviderError with a code of the taxonomy.

    A service makes each call once: Temporal owns retrying.
    """

    repeatable: bool
    """Whether a submission made twice is one all the same, so that none can be lost."""

    async def submit(self, task: SubmitTask, admit: Admit) -> Job | bytes:
        """Ask for the image: the one paid call. A job is collected, bytes are the image's file."""


class JobService(ImageService, Protocol):
    """An image service that answers with a job."""

    poll_seconds: float
    """Pause between two polls."""

    async def poll(self, task: CollectTask) -> JobProgress:
        """Ask once for the job's progress."""

    async def fetch(self, task: CollectTask, result_url: str, admit: Admit) -> bytes:
        """The finished job's image, as the file's bytes."""

    async def tidy(self, task: CollectTask) -> None:
        """Remove what the service left elsewhere, once the image is kept. Raises nothing."""

    async def stop(self, task: CollectTask) -> str:
        """Stop a job; returns what was found, for operators. A job that is gone is no error."""
