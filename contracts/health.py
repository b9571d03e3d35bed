"""What is known of a provider's health, and how it is told."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from contracts.alerts import AdminAlert
from contracts.errors import ErrorCode
from contracts.generation import MAX_DETAIL_CHARACTERS, Model


class Circuit(StrEnum):
    """Whether generations should use a provider.

    CLOSED   as the settings say
    OPEN     put after the other routes
    TRIAL    open, but a few generations may try whether it works again
    """

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


class ProviderReport(Model):
    """What became of calls to one provider since the last report: a batch, not one call."""

    successes: Annotated[int, Field(ge=0)] = 0
    failures: dict[ErrorCode, int] = Field(default_factory=dict)
    last_detail: Annotated[str, Field(max_length=MAX_DETAIL_CHARACTERS)] = ""
    """The latest failure's detail, for operators."""
    failing_since_success: Annotated[int, Field(ge=0)] = 0
    """Failures after the batch's last success; all of them when it has none."""


class Bucket(Model):
    """Calls that were reported within one slice of the window, which begins at `at` (Unix time)."""

    at: float
    successes: int = 0
    failures: dict[ErrorCode, int] = Field(default_factory=dict)


class ProviderHealthState(Model):
    """All that the health workflow knows; what it takes along into a fresh history."""

    provider: str
    circuit: Circuit = Circuit.CLOSED
    since: str = ""
    """ISO 8601, when the circuit last changed."""
    buckets: tuple[Bucket, ...] = ()
    streak: int = 0
    """Failures since the last success."""
    opened_by: ErrorCode | None = None
    last_code: ErrorCode | None = None
    last_detail: str = ""
    firing: tuple[AdminAlert, ...] = ()


class ProviderHealthView(Model):
    """The answer to the query `health`: calls of the last `window_seconds`, circuit, alerts."""

    provider: str
    circuit: Circuit
    since: str
    window_seconds: float
    successes: int
    failures: dict[ErrorCode, int]
    streak: int
    last_code: ErrorCode | None
    last_detail: str
    firing: tuple[AdminAlert, ...]


class ProbeTask(Model):
    """Input of the activity that asks a provider, for free, whether it would serve us."""

    provider: str


class Probed(Model):
    """Its result: `mend` is what to do, empty when nothing is known to be wrong."""

    found: str
    mend: str = ""
    key_taken: bool = False
    """The provider has a way to check the key, and took it."""
