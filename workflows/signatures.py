"""The signatures of all activities: what workflows call, so that mypy checks argument and result.

`activities/` implements them under the same names; a test compares both, name by name.
"""

from typing import Protocol

from temporalio import activity

from contracts import names
from contracts.alerts import AlertsSent, AlertTask, Backlog, CountTask
from contracts.connection import CalledBack, ConnectionLook, ConnectionTestTask
from contracts.events import RequestHead
from contracts.generation import Failure, Plan
from contracts.odoo_health import OdooProbed, OdooProbeTask, Released, ReleaseTask
from contracts.provider_health import Probed, ProbeTask
from contracts.tasks import (
    Collected,
    CollectTask,
    CutOff,
    Delivered,
    DeliverTask,
    FindTask,
    Found,
    PlanTask,
    Stopped,
    SubmitTask,
    Submitted,
)
from contracts.webhooks import WebhookReported, WebhookSent, WebhookTask


class Activities(Protocol):
    """Every activity of Duragen; no class implements them all."""

    @activity.defn(name=names.PLAN_ACTIVITY)
    async def plan(self, task: PlanTask) -> Plan:
        """Look up routes, Odoo and deadline in the settings."""

    @activity.defn(name=names.SUBMIT_ACTIVITY)
    async def submit(self, task: SubmitTask) -> Submitted:
        """Make the paid call."""

    @activity.defn(name=names.COLLECT_ACTIVITY)
    async def collect(self, task: CollectTask) -> Collected:
        """Poll a job until its image is in the store."""

    @activity.defn(name=names.STOP_JOB_ACTIVITY)
    async def stop(self, task: CollectTask) -> Stopped:
        """Stop a job that is no longer needed."""

    @activity.defn(name=names.REPORT_CUT_OFF_ACTIVITY)
    async def report_cut_off(self, task: CutOff) -> Failure:
        """Report a call that the server ended; say more of one that nobody took."""

    @activity.defn(name=names.CANCEL_ACTIVITY)
    async def cancel_at_deadline(self, head: RequestHead) -> None:
        """Have the server cancel the workflow that asks."""

    @activity.defn(name=names.FIND_STORED_ACTIVITY)
    async def find_stored(self, task: FindTask) -> Found:
        """Look whether an image has reached the store."""

    @activity.defn(name=names.DELIVER_ACTIVITY)
    async def deliver(self, task: DeliverTask) -> Delivered:
        """Hand the outcome to Odoo."""

    @activity.defn(name=names.NOTIFY_ACTIVITY)
    async def notify(self, task: DeliverTask) -> Delivered:
        """Send the user's notification to the notification service."""

    @activity.defn(name=names.PUBLISH_ACTIVITY)
    async def publish(self, task: DeliverTask) -> Delivered:
        """Announce the outcome at the message broker."""

    @activity.defn(name=names.SEND_ALERTS_ACTIVITY)
    async def send_alerts(self, task: AlertTask) -> AlertsSent:
        """Raise and resolve alerts at Alertmanager."""

    @activity.defn(name=names.PROBE_ACTIVITY)
    async def probe_provider(self, task: ProbeTask) -> Probed:
        """Ask a provider, for free, whether it would serve us."""

    @activity.defn(name=names.PROBE_ODOO_ACTIVITY)
    async def probe_odoo(self, task: OdooProbeTask) -> OdooProbed:
        """Look whether an Odoo that was away is back."""

    @activity.defn(name=names.RELEASE_ACTIVITY)
    async def release_parked(self, task: ReleaseTask) -> Released:
        """Have the outcomes that are parked for an Odoo delivered, the oldest first."""

    @activity.defn(name=names.COUNT_BACKLOG_ACTIVITY)
    async def count_backlog(self, task: CountTask) -> Backlog:
        """Count what waits for a person."""

    @activity.defn(name=names.SEND_WEBHOOK_ACTIVITY)
    async def send_webhook(self, task: WebhookTask) -> WebhookSent:
        """Make one attempt for one receiver."""

    @activity.defn(name=names.REPORT_WEBHOOK_ACTIVITY)
    async def report_webhook(self, task: WebhookTask) -> WebhookReported:
        """Inform Odoo of an attempt."""

    @activity.defn(name=names.LOOK_UP_ACTIVITY)
    async def look_up(self, task: ConnectionTestTask) -> ConnectionLook:
        """Look up what the settings know of an Odoo's models and callback."""

    @activity.defn(name=names.CALL_BACK_ACTIVITY)
    async def call_back(self, task: ConnectionTestTask) -> CalledBack:
        """Send Odoo a test event, as an outcome is sent."""
