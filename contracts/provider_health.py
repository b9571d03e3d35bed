"""What is known of a provider's health, and how it is reported."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from contracts.alerts import AdminAlert
from contracts.errors import TAXONOMY, ErrorCode, ErrorKind
from contracts.generation import MAX_DETAIL_CHARACTERS, Model

AGAINST_PROVIDER = frozenset(
    {code for code, rule in TAXONOMY.items() if rule.kind is ErrorKind.SYSTEM}
    - {ErrorCode.INTERNAL, ErrorCode.RATE_LIMITED, ErrorCode.RESULT_EXPIRED}
    | {ErrorCode.AUTH_CONFIG, ErrorCode.QUOTA_EXHAUSTED}
)
"""What says that a provider does not serve us just now, whatever it is asked.

Not INTERNAL, which is ours (the store's, too); nor RATE_LIMITED, for it serves others of our calls;
nor RESULT_EXPIRED, which also means that we came late; nor MODEL_CONFIG, which is one model's. A
refused prompt even says that it works.
"""


class Circuit(StrEnum):
    """Whether generations should use a provider.

    CLOSED      as the settings say
    OPEN        put after the other routes
    HALF_OPEN   open, but a few generations may try whether it works again
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


Detail = Annotated[str, Field(max_length=MAX_DETAIL_CHARACTERS)]


class ProviderReport(Model):
    """What became of calls to one provider since the last report: a batch, not one call."""

    works: bool = False
    """A sign that it works was among them: an image, or a refusal that is the user's to fix."""
    successes: Annotated[int, Field(ge=0)] = 0
    failures: dict[ErrorCode, int] = Field(default_factory=dict)
    details: dict[ErrorCode, Detail] = Field(default_factory=dict)
    """Each code's latest failure, for administrators; no user's, for it may quote a prompt."""
    failing_since_success: Annotated[int, Field(ge=0)] = 0
    """Failures against the provider after the last sign in the batch that it works."""


class Bucket(Model):
    """Calls that were reported within one slice of the window, which begins at `at` (Unix time)."""

    at: float
    successes: int = 0
    failures: dict[ErrorCode, int] = Field(default_factory=dict)


class ProviderHealthState(Model):
    """All that the health workflow knows; what it takes along when it continues as new."""

    provider: str
    circuit: Circuit = Circuit.CLOSED
    since: str = ""
    """ISO 8601, when the circuit last changed."""
    buckets: tuple[Bucket, ...] = ()
    streak: int = 0
    """Failures against the provider since the last sign that it works."""
    opened_by: ErrorCode | None = None
    probe_objected: bool = False
    """Since it opened, a probe has found the same trouble; so a probe may also see it fixed."""
    details: dict[ErrorCode, Detail] = Field(default_factory=dict)
    firing: tuple[AdminAlert, ...] = ()


class ProviderHealthView(Model):
    """The answer to the query `health`: calls of the last `window_seconds`, circuit, alerts."""

    provider: str
    circuit: Circuit
    since: str
    as_of: float
    """Unix time of the last report. A query's clock does not move: when this is long ago, there
    were no calls since."""
    window_seconds: float
    successes: int
    failures: dict[ErrorCode, int]
    streak: int
    details: dict[ErrorCode, str]
    """The latest failure of each code that is not a user's."""
    firing: tuple[AdminAlert, ...]


class ProbeTask(Model):
    """Input of the activity that asks a provider, for free, whether it would serve us."""

    provider: str


class Probed(Model):
    """Its result: `fix` is what to do, empty when nothing is known to be wrong."""

    found: str
    fix: str = ""
    key_taken: bool = False
    """The provider has a way to check the key, and took it."""
    unknown: bool = False
    """No such provider is in the settings any more."""
