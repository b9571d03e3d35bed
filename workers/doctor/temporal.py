"""What `duragen doctor` asks of Temporal: set-up, queues, providers' health, what waits."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from activities import backlog
from activities.providers.registry import kind_of
from contracts.errors import ErrorCode
from contracts.names import (
    BROKER_QUEUE,
    GENERATION_QUEUE,
    HEALTH_QUERY,
    NOTIFICATIONS_QUEUE,
    ODOO_QUEUE_PREFIX,
    PROVIDER_QUEUE_PREFIX,
    SEARCH_ATTRIBUTES,
    odoo_health_id,
    odoo_queue,
    provider_health_id,
    provider_jobs_queue,
)
from contracts.odoo_health import OdooHealthView
from contracts.provider_health import Circuit, ProviderHealthView
from peers.temporal import target
from starter.client import creating, missing_attributes
from starter.operations.failed import failed as list_failed
from workers.doctor.finding import Finding
from workers.settings import Settings

V = TypeVar("V")

QUERY_TIMEOUT = timedelta(seconds=5)
"""A worker answers a query at once, or there is none."""

MOST_FAILED = 1_000
"""So many failed generations are counted; each hundred costs two questions at the index."""


async def search_attributes(client: Client) -> Finding:
    """Whether the namespace has those that the lists and counts need."""
    missing, listed = await missing_attributes(client)
    if missing:
        found = f"{target()} lacks the search attributes {', '.join(missing)}"
        return Finding("Temporal", found, creating(client.namespace, missing, listed=listed))
    return Finding("Temporal", f"{target()}, {len(SEARCH_ATTRIBUTES)} search attributes")


def queues(settings: Settings) -> list[tuple[str, str]]:
    """Each queue that must be served, and the option by which a worker serves it."""
    found = []
    for queue in settings.queues:
        found.append((queue, queue))
        name = queue.removeprefix(PROVIDER_QUEUE_PREFIX)
        if name != queue and kind_of(settings.providers[name]).has_jobs:
            found.append((provider_jobs_queue(name), queue))
        if queue == GENERATION_QUEUE:
            found += [(odoo_queue(odoo.origin), queue) for odoo in settings.odoo]
            found += [(NOTIFICATIONS_QUEUE, queue)] if settings.notify else []
            found += [(BROKER_QUEUE, queue)] if settings.published else []
    return found


async def served(client: Client, queue: str, served_as: str) -> Finding:
    """Whether a worker polls the queue, or did within the last minutes."""
    kind = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    if queue == GENERATION_QUEUE:
        kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    what = f"queue {queue}"
    if not answer.pollers:
        fix = f"duragen worker --queue {served_as}"
        if queue.startswith(ODOO_QUEUE_PREFIX) or queue in {NOTIFICATIONS_QUEUE, BROKER_QUEUE}:
            fix += " with these settings: restart the workers after a change"
        return Finding(what, "no worker serves it", fix)
    who = sorted({poller.identity for poller in answer.pollers})
    return Finding(what, f"{len(who)} worker{'s' * (len(who) > 1)} ({', '.join(who)})")


async def health(client: Client, name: str, query_timeout: timedelta = QUERY_TIMEOUT) -> Finding:
    """What the calls to a provider came to of late; wrong when its circuit is not closed."""
    what = f"health of {name}"
    id_ = provider_health_id(name)
    view = await _asked(client, what, id_, ProviderHealthView, query_timeout)
    return view if isinstance(view, Finding) else _read(what, view)


async def odoo_health(
    client: Client, odoo: str, query_timeout: timedelta = QUERY_TIMEOUT
) -> Finding:
    """Whether outcomes for an Odoo are held, because it is away."""
    what = f"health of {odoo}"
    view = await _asked(client, what, odoo_health_id(odoo), OdooHealthView, query_timeout)
    if isinstance(view, Finding):
        return view
    if view.away_since:
        found = f"away since {view.away_since}, outcomes wait for it; last answer: {view.detail}"
        return Finding(what, found, "fix it; what waits goes on by itself")
    if view.releasing:
        return Finding(what, "is back; parked outcomes are being delivered")
    if view.streak:
        return Finding(what, f"{view.streak} deliveries in a row failed; the last: {view.detail}")
    return Finding(what, "answers deliveries")


async def _asked(
    client: Client, what: str, id_: str, view: type[V], query_timeout: timedelta
) -> V | Finding:
    """What a health workflow says, or why it says nothing."""
    handle = client.get_workflow_handle(id_)
    try:
        answer: V = await handle.query(
            HEALTH_QUERY,
            result_type=view,
            reject_condition=QueryRejectCondition.NOT_OPEN,
            rpc_timeout=query_timeout,
        )
    except WorkflowQueryRejectedError:  # somebody ended it; the next report begins a new one
        return Finding(what, "nothing was reported yet")
    except WorkflowQueryFailedError as error:
        fix = f"look at {handle.id}; where workers lack an encryption key, their log names it"
        return Finding(what, f"its workflow cannot answer ({error})", fix)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Finding(what, "nothing was reported yet")
        why = f"no worker answers for it ({error.message})"
        return Finding(what, why, f"duragen worker --queue {GENERATION_QUEUE}")
    return answer


def _read(what: str, view: ProviderHealthView) -> Finding:
    failed = sum(view.failures.values())
    calls = failed + view.successes
    minutes = f"{view.window_seconds / 60:g} min"
    found = f"{failed} of {calls} calls failed in the last {minutes}" + _by_code(view.failures)
    if time.time() - view.as_of > view.window_seconds:
        found = f"no calls in the last {minutes}"
    if view.circuit is not Circuit.CLOSED:
        tried = ", some generations try it" if view.circuit is Circuit.HALF_OPEN else ""
        found = f"avoided since {view.since}{tried}; {found}"
    elif not view.firing:
        return Finding(what, found)
    for code, detail in list(view.details.items())[-1:]:
        found += f"; last {code}: {detail}"
    found += "".join(f"; alert {a.name} ({a.severity}): {a.summary}" for a in view.firing)
    return Finding(what, found, _fix(view))


def _fix(view: ProviderHealthView) -> str:
    table = f"providers.{view.provider}"
    codes = [alert.error_type for alert in view.firing if alert.error_type]
    code = codes[0] if codes else next(reversed(view.details), "")
    fixes: dict[str, str] = {
        ErrorCode.AUTH_CONFIG: f"set a valid key: {table}.api_key",
        ErrorCode.QUOTA_EXHAUSTED: "top up the account",
        ErrorCode.MODEL_CONFIG: f"check the routes' model, and {table}.base_url",
        ErrorCode.RATE_LIMITED: f"look at the account's limits and {table}.submissions_per_second",
    }
    return fixes.get(code, "look at the service's status page")


async def parked(client: Client) -> Finding:
    """Deliveries that Odoo has not taken."""
    found = await backlog.BacklogCounter(client).parked()
    if not found:
        return Finding("parked deliveries", "none")
    fix = "duragen parked lists them; when Odoo is fixed: duragen redeliver --all"
    return Finding("parked deliveries", f"{sum(found.values())}{_by_code(found)}", fix)


async def storing(client: Client) -> Finding:
    """Images that are paid for, and wait on a worker's disk for the store."""
    number = await backlog.BacklogCounter(client).storing()
    if not number:
        return Finding("images on workers' disks", "none")
    fix = "fix the store; keep the folders that the Web UI names (GenerationStatus = 'storing')"
    return Finding("images on workers' disks", f"{number} wait for the store", fix)


async def failed(client: Client) -> Finding:
    """The same that `duragen failed` lists: shown, but nothing wrong, for each has its outcome."""
    number = perhaps_paid = 0
    async for each in list_failed(client):
        number += 1
        perhaps_paid += each.perhaps_paid > 0
        if number == MOST_FAILED:
            break
    if not number:
        return Finding("failed generations", "none")
    more = " or more" if number == MOST_FAILED else ""
    cost = f", {perhaps_paid} of them may have been paid for" if perhaps_paid else ""
    found = f"{number}{more}{cost}; duragen failed lists them"
    return Finding("failed generations", found)


async def stuck(client: Client) -> Finding:
    """Workflows whose workflow tasks fail."""
    number = await backlog.BacklogCounter(client).stuck()
    if not number:
        return Finding("stuck workflows", "none")
    fix = f'temporal workflow list --query "{backlog.STUCK}", then duragen replay ID'
    return Finding("stuck workflows", f"{number}, whose workflow tasks fail", fix)


def _by_code(numbers: Mapping[ErrorCode, int] | Mapping[str, int]) -> str:
    listed = ", ".join(f"{code} {number}" for code, number in numbers.items() if number)
    return f" ({listed})" if listed else ""
