"""Every name that two parts must agree on: types, ids, queues, search attributes.

`starter/client.py` is self-contained and repeats the few it needs; a test holds the two together.
"""

import re
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

GENERATION_WORKFLOW = "Generation"
WORKFLOW_ID_PREFIX = "generation-"
PROVIDER_HEALTH_WORKFLOW = "ProviderHealth"
PROVIDER_HEALTH_ID_PREFIX = "provider-health-"
ODOO_HEALTH_WORKFLOW = "OdooHealth"
ODOO_HEALTH_ID_PREFIX = "odoo-health-"
BACKLOG_WATCH_WORKFLOW = "BacklogWatch"
BACKLOG_WATCH_ID = "backlog-watch"
WEBHOOK_WORKFLOW = "WebhookDelivery"
WEBHOOK_ID_PREFIX = "webhook-"
CONNECTION_WORKFLOW = "ConnectionTest"
CONNECTION_ID_PREFIX = "connection-test-"

PLAN_ACTIVITY = "plan_generation"
SUBMIT_ACTIVITY = "submit_generation"
COLLECT_ACTIVITY = "collect_generation"
STOP_JOB_ACTIVITY = "stop_job"
REPORT_CUT_OFF_ACTIVITY = "report_cut_off"
CANCEL_ACTIVITY = "cancel_at_deadline"
FIND_STORED_ACTIVITY = "find_stored_image"
DELIVER_ACTIVITY = "deliver_outcome"
NOTIFY_ACTIVITY = "notify_user"
PUBLISH_ACTIVITY = "publish_outcome"
SEND_ALERTS_ACTIVITY = "send_alerts"
PROBE_ACTIVITY = "probe_provider"
COUNT_BACKLOG_ACTIVITY = "count_backlog"
PROBE_ODOO_ACTIVITY = "probe_odoo"
RELEASE_ACTIVITY = "release_parked"
SEND_WEBHOOK_ACTIVITY = "send_webhook"
REPORT_WEBHOOK_ACTIVITY = "report_webhook"
LOOK_UP_ACTIVITY = "look_up_connection"
CALL_BACK_ACTIVITY = "send_test_callback"

STATUS_QUERY = "status"
RETRY_DELIVERY_UPDATE = "retry_delivery"
ABANDON_DELIVERY_UPDATE = "abandon_delivery"
SPOOL_NEWS_SIGNAL = "spool_news"
REPORT_SIGNAL = "report"
HEALTH_QUERY = "health"
PROBE_NOW_UPDATE = "probe_now"

GENERATION_QUEUE = "generation"
FIRST_PRIORITY = 1
"""Of the workflows that watch, on the queue of generations, which have Temporal's usual one, 3:
thousands that wait must not keep a delivery from knowing that its Odoo is away."""

PROVIDER_QUEUE_PREFIX = "provider."
ODOO_QUEUE_PREFIX = "odoo."
NOTIFICATIONS_QUEUE = "notifications"
BROKER_QUEUE = "broker"
WEBHOOK_QUEUE = "webhooks"

REQUEST_ID = "RequestId"
CORRELATION_ID = "CorrelationId"
USER_ID = "UserId"
CAMPAIGN_ID = "CampaignId"
GENERATION_STATUS = "GenerationStatus"
PROVIDER = "Provider"
ERROR_CODE = "ErrorCode"
OWNER = "Owner"
"""Whose a generation is: the owner of the key that started it, else the origin of its Odoo."""

SEARCH_ATTRIBUTES = (
    REQUEST_ID,
    CORRELATION_ID,
    USER_ID,
    CAMPAIGN_ID,
    GENERATION_STATUS,
    PROVIDER,
    ERROR_CODE,
    OWNER,
)
"""All of type Keyword. Stored in clear by Temporal: no prompt, no personal data."""

PARKED_QUERY = (
    f"WorkflowType = '{GENERATION_WORKFLOW}' AND ExecutionStatus = 'Running'"
    f" AND {GENERATION_STATUS} = 'parked'"
)
"""What the server's index finds parked generations by."""

STORING_QUERY = (
    f"WorkflowType = '{GENERATION_WORKFLOW}' AND ExecutionStatus = 'Running'"
    f" AND {GENERATION_STATUS} = 'storing'"
)
"""The same for generations whose image waits on a worker's disk for the store."""

PAYLOAD_DIGEST_MEMO = "payloadSha256"
"""Memo field by which an entry point distinguishes a repeated start from a conflicting one."""

PARKED_MEMO = "parked"
"""Memo field of a parked generation: its DeliveryTrouble, so that a list needs no worker."""

FAILURE_MEMO = "failure"
"""Memo field of a failed generation: its Failure, for the same reason. A canceled one has it when
it may have been paid for: a canceled workflow has no result."""

TRACE_STATE_KEY, TRACE_UNDECIDED = "duragen", "undecided"
"""In a start's `tracestate`: nobody has decided yet whether this trace is recorded."""

# spec: event-driven-architecture, Tracing And Correlation
CORRELATION_HEADER = "X-Correlation-ID"


OWNER_PATTERN = r"(?!check-)[a-z0-9][a-z0-9_-]{0,39}"
"""An owner's name: part of workflow ids, of keys in the store and of file names.

What is at `generations/check-*` the worker may delete: see CHECK_PREFIX of `activities/s3.py`.
"""


class GenerationId(NamedTuple):
    """Which generation: `owner` is "" for one that was started with direct access to Temporal."""

    request_id: UUID
    owner: str = ""


def workflow_id(request_id: UUID, owner: str = "") -> str:
    """The workflow id of a request, which is its idempotency key.

    `generation-{requestId}`, with `.{owner}` after it when a key's owner started it. So owners have
    their requestIds each for themselves: none takes, sees or cancels what another one has started.
    """
    return f"{WORKFLOW_ID_PREFIX}{request_id}{f'.{owner}' if owner else ''}"


def generation_id(workflow_id: str) -> GenerationId:
    """The inverse of `workflow_id`. Raises ValueError when the id is not one of a generation."""
    text, dot, owner = workflow_id.removeprefix(WORKFLOW_ID_PREFIX).partition(".")
    with suppress(ValueError):
        found = GenerationId(UUID(text), owner)
        # Temporal compares ids letter by letter, UUID() is generous: braces, capitals, no dashes.
        same = workflow_id == f"{WORKFLOW_ID_PREFIX}{found.request_id}{dot}{owner}"
        if same and bool(re.fullmatch(OWNER_PATTERN, owner)) == bool(dot):
            return found
    raise ValueError(
        f"{workflow_id!r} is not the id of a generation ({WORKFLOW_ID_PREFIX}<requestId>, with"
        " .<owner> after it when it has one)"
    )


def provider_queue(provider: str) -> str:
    """The task queue of paid calls to `provider`; the server holds its rate limit."""
    return f"{PROVIDER_QUEUE_PREFIX}{provider}"


def provider_jobs_queue(provider: str) -> str:
    """The task queue of polling jobs of `provider`: free, so without a rate limit."""
    return f"{PROVIDER_QUEUE_PREFIX}{provider}.jobs"


def provider_health_id(provider: str) -> str:
    """The workflow id of what is known of `provider`'s health."""
    return f"{PROVIDER_HEALTH_ID_PREFIX}{provider}"


def odoo_queue(origin: str) -> str:
    """The task queue of deliveries to the Odoo at `origin`: one that hangs fills its own alone."""
    return f"{ODOO_QUEUE_PREFIX}{origin}"


def odoo_health_id(origin: str) -> str:
    """The workflow id of what is known of the health of the Odoo at `origin`."""
    return f"{ODOO_HEALTH_ID_PREFIX}{origin}"


IMAGES_PREFIX = "generations/"

JOBS_PREFIX = "jobs/"
"""Where containers of Kubernetes Jobs put their images, in the same bucket."""


def job_prefix(request_id: UUID) -> str:
    """What the names of a request's Kubernetes Jobs begin with; their images, under JOBS_PREFIX."""
    return f"duragen-{request_id}-"


def images_prefix(request_id: UUID, owner: str = "") -> str:
    """What the keys of a generation's images begin with."""
    return f"{IMAGES_PREFIX}{f'{owner}/' if owner else ''}{request_id}."


def image_key(request_id: UUID, image_format: str, owner: str = "") -> str:
    """The key of a generation's image in the store: `generations/{requestId}.{format}`.

    With an owner `generations/{owner}/{requestId}.{format}`.
    """
    return f"{images_prefix(request_id, owner)}{image_format}"


def distinct_image_key(request_id: UUID, image_format: str, sha256: str, owner: str = "") -> str:
    """The key where the store has no conditional writes: no other bytes ever have the same.

    As `image_key`, with the first 32 digits of the SHA-256 before the format.
    """
    return f"{images_prefix(request_id, owner)}{sha256[:32]}.{image_format}"


def erased_key(request_id: UUID, owner: str = "") -> str:
    """The key of an empty object that says: an image of this generation is to be deleted, not kept.

    It stands beside where images would be, so that the same rights are enough.
    """
    return f"{images_prefix(request_id, owner)}erased"
