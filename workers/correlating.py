"""Binds each activity to the ids of its generation, so that its logs and calls carry them."""

from typing import Any

from pydantic import BaseModel
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from contracts.events import GenerationRequested
from contracts.generation import CollectTask, DeliverTask, SubmitTask
from otel.correlation import Correlation, bound


class CorrelationInterceptor(Interceptor):
    """Reads the ids from the activity's input; every input of ours has them."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002  # the base class's name
        """Wrap the activity."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002  # as above
        ids = _ids_of(input.args[0]) if input.args else None
        if ids is None:
            return await super().execute_activity(input)
        with bound(ids):
            return await super().execute_activity(input)


def _ids_of(task: BaseModel) -> Correlation | None:
    if isinstance(task, SubmitTask | CollectTask):
        task = task.request
    if isinstance(task, GenerationRequested | DeliverTask):
        return Correlation(task.correlation_id, task.request_id)
    return None
