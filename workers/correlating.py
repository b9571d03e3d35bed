"""Binds each activity to the ids of its generation, so that its logs and calls carry them."""

import logging
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from contracts.connection import ConnectionTestTask
from contracts.events import GenerationRequested, RequestHead
from contracts.tasks import CollectTask, CutOff, DeliverTask, FindTask, PlanTask, SubmitTask
from contracts.webhooks import WebhookTask
from otel.correlation import Correlation, bound

_WITH_BOTH_IDS = GenerationRequested | RequestHead | DeliverTask | CutOff | ConnectionTestTask

_of_this_activity: ContextVar[Correlation | None] = ContextVar("of_this_activity", default=None)
"""Never reset: each activity runs in a task of its own."""


class CorrelationInterceptor(Interceptor):
    """Reads the ids from the activity's input; every input of ours has them."""

    def __init__(self) -> None:
        # The SDK logs that an activity failed after the interceptor has left; that line needs the
        # ids more than any other.
        activity.logger.base_logger.addFilter(_stamp)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002  # the base class's name
        """Wrap the activity."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002  # as above
        ids = _ids_of(input.args[0]) if input.args else None
        if ids is None:
            return await super().execute_activity(input)
        _of_this_activity.set(ids)
        with bound(ids):
            return await super().execute_activity(input)


def _stamp(record: logging.LogRecord) -> bool:
    ids = _of_this_activity.get()
    if ids:
        record.correlationId, record.requestId = str(ids.correlation_id), str(ids.request_id)
    return True


def _ids_of(task: BaseModel) -> Correlation | None:
    if isinstance(task, SubmitTask | CollectTask | FindTask):
        task = task.request
    if isinstance(task, PlanTask):
        task = task.head
    if isinstance(task, _WITH_BOTH_IDS):
        return Correlation(task.correlation_id, task.request_id)
    if isinstance(task, WebhookTask) and task.correlation_id and task.request_id:
        return Correlation(task.correlation_id, task.request_id)
    return None
