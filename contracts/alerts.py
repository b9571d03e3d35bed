"""Alerts, which administrators receive through Alertmanager.

An alert is known by its name and labels: the same alert raised twice is one. It is raised again for
as long as it lasts, and ends by itself when whoever raised it has gone away.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from contracts.errors import TAXONOMY, Alert, ErrorCode
from contracts.generation import MAX_DETAIL_CHARACTERS, Model


class AlertName(StrEnum):
    """`alertname` in Alertmanager."""

    PROVIDER_ERRORS = "DuragenProviderErrors"
    """A provider's errors are frequent, or need a person. spec: error-handling.sequence, 10.1."""

    PROVIDER_DOWN = "DuragenProviderDown"
    """A provider's circuit is open: generations take their next route."""

    DELIVERIES_PARKED = "DuragenDeliveriesParked"
    """Odoo has not taken outcomes. spec: event-driven-architecture, Alerting Requirements."""

    GENERATIONS_FAILED = "DuragenGenerationsFailed"
    """Generations failed: one whose reason needs a person, or many with the same code."""

    IMAGES_WAITING = "DuragenImagesWaiting"
    """Images that are paid for lie on workers' disks: the store does not take them."""

    WEBHOOK_DISABLED = "DuragenWebhookDisabled"
    """An API user's webhook has failed for days: nothing more is sent there."""

    WORKFLOWS_STUCK = "DuragenWorkflowsStuck"
    """Workflow tasks fail again and again: a fault of ours, or a deployment that does not fit."""


class Severity(StrEnum):
    """How soon somebody looks. spec: event-driven-architecture, Alerting Requirements."""

    CRITICAL = "critical"
    """Immediately."""

    WARNING = "warning"
    """Within 15 minutes."""


class AdminAlert(Model):
    """One alert. `service` and `error_type` become labels beside name and severity.

    `summary` is one line; `description` says how much, how often and what to do. Both may change
    while the alert lasts: they do not make it another one.
    """

    name: AlertName
    severity: Severity
    service: str
    error_type: str = ""
    summary: str
    description: Annotated[str, Field(max_length=4 * MAX_DETAIL_CHARACTERS)] = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes it this alert and no other: all that becomes a label."""
        return (self.name, self.severity, self.service, self.error_type)


class AlertTask(Model):
    """Input of the activity that sends alerts to Alertmanager.

    Those that `firing` end by themselves after `lasts_seconds` unless they are raised again.
    """

    firing: tuple[AdminAlert, ...] = ()
    resolved: tuple[AdminAlert, ...] = ()
    lasts_seconds: Annotated[float, Field(gt=0)]


class AlertsSent(Model):
    """Its result, for operators: how Alertmanager answered."""

    answer: str


class CountTask(Model):
    """Input of the activity that counts what waits for a person."""

    window_seconds: float
    """Failed generations are counted that ended within so many seconds."""


class Backlog(Model):
    """Its result: generations by error code. Parked ones now; failed ones within the window.

    `stuck`: workflows whose tasks fail again and again; 0 where the server does not report it.
    `storing`: images that wait on workers' disks for the store.
    """

    parked: dict[str, int] = Field(default_factory=dict)
    failed: dict[str, int] = Field(default_factory=dict)
    ended: int = 0
    """All that ended within the window, however; 0 when none failed."""
    stuck: int = 0
    storing: int = 0


class BacklogRules(Model):
    """By what the backlog watch judges, as it was when this run of it began; see `HealthRules`."""

    frequent: float = 0.05
    """Share of the generations that ended. spec: event-driven-architecture, Performance Metrics."""
    fewest_to_warn: int = 5
    """Failed generations; below it chance would be an alert."""
    at_once: tuple[ErrorCode, ...] = tuple(
        code for code, rule in TAXONOMY.items() if rule.alert in {Alert.PAGE, Alert.ALWAYS}
    )
    """One failed generation with such a code is an alert; of others a frequent one."""
    alert_refresh_seconds: float = 60.0
    """A firing alert is sent again so often."""
    long_history_events: int = 1_000
    """Then it continues as new; the server's limit is 51,200."""


class BacklogWatchState(Model):
    """What the backlog watch takes along when it continues as new: the alerts that fire."""

    firing: tuple[AdminAlert, ...] = ()
    rules: BacklogRules = BacklogRules()
