"""What is known of the health of one Odoo, and how it is reported."""

from typing import Annotated

from pydantic import Field

from contracts.generation import MAX_DETAIL_CHARACTERS, Model

Detail = Annotated[str, Field(max_length=MAX_DETAIL_CHARACTERS)]


class OdooReport(Model):
    """What became of deliveries to one Odoo since the last report: a batch, not one delivery."""

    answered: bool = False
    """Odoo took or refused an outcome: a refusal says nothing against it."""
    failing_since_answer: Annotated[int, Field(ge=0)] = 0
    """Deliveries that ended with ODOO_UNAVAILABLE after the last answer in the batch."""
    detail: Detail = ""
    """The latest of them, for operators."""


class OdooHealthRules(Model):
    """By what the health workflow judges, as it was when this run of it began.

    Part of its state, so that tuning breaks no replay of what runs.
    """

    failures_in_a_row: int = 8
    """Then Odoo is away: two outcomes with their retries, as for providers."""
    probe_seconds: float = 10.0
    """Between two probes of an Odoo that is away: a probe costs Odoo next to nothing, and what
    waits goes on soon."""
    asked_probe_seconds: float = 2.0
    """A probe that somebody asks for comes at once, but not sooner than this after the last."""
    settle_seconds: float = 10.0
    """After a release, until it is looked for what was parked meanwhile: the server's index is some
    seconds behind."""
    thorough_every: int = 6
    """So many probes to one that delivers an outcome although the look was answered with 5xx: a
    minute. One that somebody asks for does so as well."""
    long_history_events: int = 1_000
    """Then it continues as new; the server's limit is 51,200."""


class OdooHealthState(Model):
    """All that the health workflow knows; what it takes along when it continues as new."""

    odoo: str
    streak: int = 0
    """Deliveries in a row that Odoo has not answered."""
    detail: Detail = ""
    """Why, of the latest delivery or probe."""
    away_since: str | None = None
    """ISO 8601; None: it is not known to be away."""
    tried: tuple[str, ...] = ()
    """Workflow ids of the latest trials, so that the next probe tries another outcome."""
    release: bool = False
    """It is back, and what is parked has not been released yet."""
    released: int = 0
    """Outcomes that were released since it is back."""
    only_held: bool = False
    """All that was parked has been released once: what follows is what was held meanwhile."""
    rules: OdooHealthRules = OdooHealthRules()


class OdooHealthView(Model):
    """The answer to the query `health` and to the update `probe_now`."""

    odoo: str
    away_since: str | None = None
    streak: int = 0
    detail: str = ""
    releasing: bool = False

    @property
    def well(self) -> bool:
        """Nothing speaks against it."""
        return self.away_since is None and self.streak == 0


class OdooProbeTask(Model):
    """Input of the activity that looks whether an Odoo is back. `tried`: see OdooHealthState.

    `thorough`: one outcome is tried also when the look was answered with 5xx.
    """

    odoo: str
    tried: tuple[str, ...] = ()
    thorough: bool = False


class OdooProbed(Model):
    """Its result. `trial` is the workflow id of the outcome that was tried, if one was."""

    back: bool = False
    found: Detail = ""
    trial: str | None = None
    unknown: bool = False
    """No such Odoo is in the settings any more."""


class ReleaseTask(Model):
    """Input of the activity that has parked outcomes delivered, the oldest first."""

    odoo: str
    only_held: bool = False


class Released(Model):
    """Its result. `stopped`: not all are released; Odoo was away again, or the worker had to go."""

    released: int = 0
    stopped: bool = False


class Held(Model):
    """Why a delivery ended without an attempt; recorded in the details of its error."""

    away_since: str
