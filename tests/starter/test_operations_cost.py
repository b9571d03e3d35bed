"""What operators' lists ask Temporal: as little as that thousands stay a line, not a curve."""

import pytest
from temporalio.client import (
    Client,
    CountWorkflowsInput,
    Interceptor,
    ListWorkflowsInput,
    OutboundInterceptor,
    WorkflowExecutionAsyncIterator,
    WorkflowExecutionCount,
)

from starter.operations.failed import BATCH, failed
from tests.lab import Lab
from tests.starter.operating import begun, ended, id_of, rerun_by_id, until

pytestmark = pytest.mark.usefixtures("desk_worker")

NO_MODEL = "99999999-9999-4999-8999-999999999999"


class Recorder(Interceptor):
    """The SDK's own seam: lists and counts, as they are asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002  # the base class's name
        """Wrap the client's calls."""
        return _Outbound(next, self.asked)


class _Outbound(OutboundInterceptor):
    def __init__(self, next_: OutboundInterceptor, asked: list[str]) -> None:
        super().__init__(next_)
        self._asked = asked

    def list_workflows(
        self,
        input: ListWorkflowsInput,  # noqa: A002  # the base class's name
    ) -> WorkflowExecutionAsyncIterator:
        self._asked.append("list")
        return super().list_workflows(input)

    async def count_workflows(
        self,
        input: CountWorkflowsInput,  # noqa: A002  # the base class's name
    ) -> WorkflowExecutionCount:
        self._asked.append("count")
        return await super().count_workflows(input)


async def _failed(desk: Lab) -> tuple[set[str], list[str]]:
    """The failed ones, and what was asked for them, in the order of the alphabet."""
    recorder = Recorder()
    client = Client(**{**desk.client.config(), "interceptors": [recorder]})  # type: ignore[arg-type]  # a TypedDict, less strict
    return {each.workflow_id async for each in failed(client)}, sorted(recorder.asked)


async def test_failed_ones_are_not_listed_twice(desk: Lab) -> None:
    """One list of all, and a count for each hundred; a second list only where one was run again.

    For a list of ids the embedded server reads everything there is.
    """
    requests = await begun(desk, BATCH + 1, model_id=NO_MODEL)
    for request in requests:
        await ended(desk, request)
    await until(lambda: _failed(desk), ({*map(id_of, requests)}, ["count", "count", "list"]))
    await desk.break_odoo(hang=True)  # it stays away from its end
    await rerun_by_id(desk, requests[0])
    rest = {*map(id_of, requests[1:])}
    await until(lambda: _failed(desk), (rest, ["count", "count", "list", "list"]))
    await desk.client.get_workflow_handle(id_of(requests[0])).terminate()
