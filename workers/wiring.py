"""What each task queue's worker runs: activities with their clients, and workflows."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.alerts import AlertActivities
from activities.backlog import BacklogActivities
from activities.collect import CollectActivities
from activities.cut_off import CutOffActivities
from activities.deadline import DeadlineActivities
from activities.notify import NotifyActivities
from activities.odoo.deliver import OdooActivities
from activities.odoo.recovery import OdooRecovery
from activities.outcome_messages import PublishActivities
from activities.planning import PlanActivities
from activities.providers.kind import Parts
from activities.providers.probing import ProbeActivities
from activities.providers.registry import kind_of, probes
from activities.providers.service import JobService
from activities.spool_uploads import StoredActivities
from activities.submit import SubmitActivities
from activities.webhooks import WebhookActivities, WebhookSource
from contracts.generation import FlowRules
from contracts.names import (
    BROKER_QUEUE,
    GENERATION_QUEUE,
    NOTIFICATIONS_QUEUE,
    PROVIDER_QUEUE_PREFIX,
    WEBHOOK_QUEUE,
    odoo_queue,
    provider_jobs_queue,
    provider_queue,
)
from workers.clients import Clients
from workers.correlating import CorrelationInterceptor
from workers.odoo_wiring import (
    connection_test,
    deliveries_at_once,
    odoo_address,
    odoo_delivery,
)
from workers.settings import Settings
from workflows.backlog_watch import BacklogWatch
from workflows.connection import ConnectionTest
from workflows.generation import Generation
from workflows.odoo_health import OdooHealth
from workflows.provider_health import ProviderHealth
from workflows.webhook import WebhookDelivery

HEARTBEAT_EVERY = timedelta(seconds=5)
"""At most this long between the heartbeats that reach the server; a third of the timeout."""


def build_workers(client: Client, settings: Settings, clients: Clients) -> list[Worker]:
    """A worker for each task queue that this process serves."""
    workers = []
    for queue in settings.queues:
        if queue == GENERATION_QUEUE:
            workers += _generation_workers(client, settings, clients)
        else:
            name = queue.removeprefix(PROVIDER_QUEUE_PREFIX)
            workers += _provider_workers(client, settings, clients, name)
    return workers


def _generation_workers(client: Client, settings: Settings, clients: Clients) -> list[Worker]:
    """Of the queue `generation`, and of those that come with it: of each Odoo, of notifications."""
    planning = PlanActivities(
        {model_id: model.routes for model_id, model in settings.models.items()},
        {odoo.origin: odoo.callback_paths for odoo in settings.odoo},
        settings.generation.deadline_seconds,
        clients.board,
        carries={
            name: kind_of(provider).carries(provider)
            for name, provider in settings.providers.items()
        },
        notify=settings.notify is not None,
        published=settings.published,
        rules=FlowRules(try_parked_seconds=settings.generation.try_parked_seconds),
    )
    odoos = {
        odoo.origin: odoo_delivery(
            odoo,
            clients.odoo_http,
            clients.closing,
            clients.messages,
            use_proxies=settings.worker.use_proxies,
        )
        for odoo in settings.odoo
    }
    with_data = {odoo.origin for odoo in settings.odoo if odoo.images == "data"}
    delivering = OdooActivities(odoos, clients.store, clients.gates, with_data)
    connection = connection_test(settings, odoos)
    addresses = {odoo.origin: odoo_address(odoo, settings.rabbitmq) for odoo in settings.odoo}
    recovery = OdooRecovery(client, clients.odoo_http, clients.gates, addresses)
    activities: list[Callable[..., Any]] = [
        planning.plan,
        CutOffActivities(client, clients.reports).report_cut_off,
        DeadlineActivities(client).cancel_at_deadline,
        connection.look_up,
        delivering.deliver,  # what a version without queues for Odoos has scheduled
        StoredActivities(clients.store).find_stored,
        recovery.probe_odoo,
        recovery.release_parked,
        _alerts(settings, clients).send_alerts,
        BacklogActivities(client).count_backlog,
        # Not on the provider's own queue, where it would wait behind the calls that hang.
        ProbeActivities(probes(settings.providers, clients.http)).probe_provider,
    ]
    # A peer that hangs fills the slots of its own queue, and no other's.
    workers = [
        Worker(
            client,
            task_queue=odoo_queue(odoo.origin),
            activities=[delivering.deliver, connection.call_back],
            max_concurrent_activities=deliveries_at_once(odoo, settings.worker.images_in_memory),
            max_task_queue_activities_per_second=odoo.deliveries_per_second,
            **_common(settings),
        )
        for odoo in settings.odoo
    ]
    if settings.notify:
        token = settings.notify.token
        notify = NotifyActivities(
            clients.http, settings.notify.base_url, token.get_secret_value() if token else None
        ).notify
        activities.append(notify)  # as above
        workers.append(
            Worker(
                client,
                task_queue=NOTIFICATIONS_QUEUE,
                activities=[notify],
                **_common(settings),
            )
        )
    if clients.messages and settings.published:
        workers.append(
            Worker(
                client,
                task_queue=BROKER_QUEUE,
                activities=[PublishActivities(clients.messages).publish],
                **_common(settings),
            )
        )
    webhooks = _webhooks(settings, clients)
    workers.append(
        Worker(
            client,
            task_queue=WEBHOOK_QUEUE,
            activities=[webhooks.send_webhook, webhooks.report_webhook],
            max_concurrent_activities=settings.webhooks.max_in_flight,
            **_common(settings),
        )
    )
    generation = Worker(
        client,
        task_queue=GENERATION_QUEUE,
        workflows=[
            *(Generation, ProviderHealth, OdooHealth, BacklogWatch),
            *(WebhookDelivery, ConnectionTest),
        ],
        workflow_runner=(
            SandboxedWorkflowRunner() if settings.worker.sandbox else UnsandboxedWorkflowRunner()
        ),
        activities=activities,
        max_cached_workflows=settings.worker.max_cached_workflows,
        max_concurrent_workflow_tasks=settings.worker.max_workflow_tasks,
        **_common(settings),
    )
    return [generation, *workers]


def _provider_workers(
    client: Client, settings: Settings, clients: Clients, name: str
) -> list[Worker]:
    provider = settings.providers[name]
    kind = kind_of(provider)
    service = kind.build(
        provider, Parts(clients.http, clients.public, clients.store, clients.closing)
    )
    workers = [
        Worker(
            client,
            task_queue=provider_queue(name),
            activities=[
                SubmitActivities(service, clients.images, clients.memory, clients.reports).submit,
            ],
            max_concurrent_activities=provider.max_in_flight,
            max_task_queue_activities_per_second=provider.submissions_per_second,
            **_common(settings),
        )
    ]
    if kind.has_jobs:
        jobs = cast("JobService", service)
        collecting = CollectActivities(jobs, clients.images, clients.memory, clients.reports)
        workers.append(
            Worker(
                client,
                task_queue=provider_jobs_queue(name),
                activities=[collecting.collect, collecting.stop],
                max_concurrent_activities=provider.max_in_flight,
                **_common(settings),
            )
        )
    return workers


def _common(settings: Settings) -> dict[str, Any]:
    return {
        "interceptors": [CorrelationInterceptor()],
        "graceful_shutdown_timeout": timedelta(seconds=settings.grace_seconds),
        "workflow_task_poller_behavior": PollerBehaviorAutoscaling(),
        "activity_task_poller_behavior": PollerBehaviorAutoscaling(),
        "max_heartbeat_throttle_interval": HEARTBEAT_EVERY,
        "default_heartbeat_throttle_interval": HEARTBEAT_EVERY,
    }


def _webhooks(settings: Settings, clients: Clients) -> WebhookActivities:
    sources = {
        odoo.origin: WebhookSource(odoo.tokens, odoo.signing_secrets, odoo.webhooks_path)
        for odoo in settings.odoo
    }
    return WebhookActivities(
        sources,
        clients.odoo_http,
        clients.http,
        clients.public,
        private=frozenset(settings.webhooks.private),
        slots=settings.webhooks.max_in_flight,
    )


def _alerts(settings: Settings, clients: Clients) -> AlertActivities:
    alerts = settings.alerts
    if alerts is None:
        return AlertActivities(clients.http, None, None)
    token = alerts.token.get_secret_value() if alerts.token else None
    return AlertActivities(clients.http, alerts.base_url, token, web_url=alerts.web_url)
