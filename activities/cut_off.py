"""Calls that the server ended, so that no worker could report them."""

from datetime import timedelta

from temporalio import activity
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.provider_health import ProviderReports
from contracts.errors import ErrorCode
from contracts.generation import Failure
from contracts.names import REPORT_CUT_OFF_ACTIVITY
from contracts.tasks import CutOff

LOOK_UP_TIMEOUT = timedelta(seconds=10)


class CutOffActivities:
    """Notes them for the provider's health workflow."""

    def __init__(self, client: Client, reports: ProviderReports) -> None:
        self._client = client
        self._reports = reports
        self._seen: dict[str, bool] = {}
        """Whether each queue was served when the server last said so."""

    @activity.defn(name=REPORT_CUT_OFF_ACTIVITY)
    async def report_cut_off(self, task: CutOff) -> Failure:
        """Report it, and return it; NOT_SERVED in place of QUEUE_TIMEOUT when no worker is there.

        The server lists a worker for five minutes after its last poll.
        """
        failure = task.failure
        if failure.code is ErrorCode.QUEUE_TIMEOUT and not await self._served(task.queue):
            detail = f"no worker serves the queue {task.queue}: start one"
            failure = failure.model_copy(update={"code": ErrorCode.NOT_SERVED, "detail": detail})
        paid = failure.perhaps_paid > 0
        self._reports.failed(task.provider, failure, perhaps_paid=paid)
        return failure

    async def _served(self, queue: str) -> bool:
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        )
        try:
            answer = await self._client.workflow_service.describe_task_queue(
                request, timeout=LOOK_UP_TIMEOUT
            )
        except RPCError as error:
            activity.logger.warning("whether %s is served is not known: %s", queue, error.message)
            return self._seen.get(queue, True)
        self._seen[queue] = bool(answer.pollers)
        return self._seen[queue]
