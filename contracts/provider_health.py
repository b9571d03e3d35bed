"""What is known of a provider's health, and how it is reported."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from contracts.alerts import AdminAlert
from contracts.errors import TAXONOMY, Alert, ErrorCode, ErrorKind
from contracts.generation import MAX_DETAIL_CHARACTERS, Model

AGAINST_PROVIDER = frozenset(
    {code for code, rule in TAXONOMY.items() if rule.kind is ErrorKind.SYSTEM}
    - {
        ErrorCode.INTERNAL,
        ErrorCode.STORE_UNAVAILABLE,
        ErrorCode.CONFLICT,
        ErrorCode.RATE_LIMITED,
        ErrorCode.QUEUE_TIMEOUT,
        ErrorCode.RESULT_EXPIRED,
        ErrorCode.REFUSED,
    }
    | {ErrorCode.AUTH_CONFIG, ErrorCode.QUOTA_EXHAUSTED}
)
"""What says that a provider does not serve us just now, whatever it is asked.

Not INTERNAL, STORE_UNAVAILABLE and CONFLICT, which are ours; nor RATE_LIMITED and QUEUE_TIMEOUT,
for it serves others of our calls; nor RESULT_EXPIRED, which also means that we came late; nor
REFUSED, which is one prompt's, nor MODEL_CONFIG, which is one model's. A refused prompt even says
that it works.
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
    perhaps_paid: Annotated[int, Field(ge=0)] = 0
    """Calls that failed, and that the provider may have charged for."""


class HealthRules(Model):
    """By what the health workflow judges, as it was when this run of it began.

    Part of its state, so that tuning breaks no replay of what runs; the run that continues it takes
    the rules of its day.
    """

    window_seconds: float = 300.0
    """spec: event-driven-architecture, Performance Metrics: error rates "over 5 mins"."""
    slice_seconds: float = 10.0
    """Calls are kept in slices of the window, which bounds the state whatever the rate."""
    frequent_errors: float = 0.05
    """Share of calls. spec, ibid.: "> 5%"."""
    frequent_refusals: float = 0.25
    """Users' refused prompts are ordinary until they are many."""
    fewest_calls_to_warn: int = 20
    """Below it one failure would be an alert."""
    lasting_seconds: float = 120.0
    """Between the first and the last 429 in the window: then it is no peak any more."""
    failures_in_a_row: int = 8
    """A circuit opens when nothing works: so many are three generations with their retries, and
    happen by chance once in 15,000 calls when 30 % fail."""
    share_to_open: float = 0.5
    fewest_calls_to_open: int = 10
    refusals_to_open: float = 0.1
    """Share of refused keys and empty accounts among all calls: below it, one worker of many has
    wrong settings, and the others go on."""
    cool_down_seconds: float = 30.0
    """Between two probes of a provider whose circuit is open; before that nothing closes it, so
    that one worker in trouble among others does not make it flap."""
    longest_open_seconds: float = 600.0
    """Then a few generations try, whatever the probe says: a look-up may be refused for ever where
    calls are not."""
    alert_refresh_seconds: float = 60.0
    """A firing alert is sent again so often."""
    long_history_events: int = 1_000
    """Then it continues as new; the server's limit is 51,200."""
    against: tuple[ErrorCode, ...] = tuple(sorted(AGAINST_PROVIDER))
    enough: tuple[ErrorCode, ...] = (ErrorCode.AUTH_CONFIG, ErrorCode.QUOTA_EXHAUSTED)
    """One of these is enough where nothing else is known: every further call would be refused as
    well. Among many that succeed it is one worker's trouble: an alert, and no reason to open."""
    users: tuple[ErrorCode, ...] = tuple(
        code for code, rule in TAXONOMY.items() if rule.kind is ErrorKind.USER
    )
    alerts: dict[ErrorCode, Alert] = Field(
        default_factory=lambda: {code: rule.alert for code, rule in TAXONOMY.items()}
    )
    """The taxonomy's column; a code that is not there raises none."""


class Bucket(Model):
    """Calls that were reported within one slice of the window, which begins at `at` (Unix time)."""

    at: float
    successes: int = 0
    failures: dict[ErrorCode, int] = Field(default_factory=dict)
    perhaps_paid: int = 0


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
    rules: HealthRules = HealthRules()


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
    perhaps_paid: int = 0
    """Of these failures, those that the provider may have charged for."""
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
