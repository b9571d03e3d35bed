"""Counting what waits for a person, on a real server without workflows of other tests."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import (
    Client,
    CountWorkflowsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowExecutionCount,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.backlog import OTHER, BacklogActivities
from contracts.alerts import Backlog, CountTask
from contracts.names import ERROR_CODE, GENERATION_STATUS, GENERATION_WORKFLOW, SEARCH_ATTRIBUTES
from deploy.local.stack.layout import program
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import refusing_url

PATIENCE_SECONDS = 100
"""The index is a moment behind; the server waits some seconds before it tries a task again."""

HOUR = 3_600.0
_STATUS = SearchAttributeKey.for_keyword(GENERATION_STATUS)
_CODE = SearchAttributeKey.for_keyword(ERROR_CODE)


@workflow.defn(name=GENERATION_WORKFLOW)
class Ending:
    """A generation for nothing but its end; without a worker it has none."""

    @workflow.run
    async def run(self, how: str) -> None:
        """Fail, or stumble."""
        if how == "fails":
            raise ApplicationError("as a generation does", non_retryable=True)
        raise RuntimeError("a mistake in the workflow's code")


class Recorder(Interceptor):
    """The SDK's own seam: queries as they are sent, changed for a test."""

    def __init__(self, change: Callable[[str], str] = str) -> None:
        self.queries: list[str] = []
        self.change = change

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002  # the base class's name
        """Wrap the client's calls."""
        return _Outbound(next, self)


class _Outbound(OutboundInterceptor):
    def __init__(self, next_: OutboundInterceptor, recorder: Recorder) -> None:
        super().__init__(next_)
        self._recorder = recorder

    async def count_workflows(
        self,
        input: CountWorkflowsInput,  # noqa: A002  # the base class's name
    ) -> WorkflowExecutionCount:
        input.query = self._recorder.change(input.query or "")
        self._recorder.queries.append(input.query)
        return await super().count_workflows(input)


@pytest.fixture
async def server() -> AsyncIterator[Client]:
    """A server with our search attributes, which reports a stumbling workflow at once."""
    threshold = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1"
    started = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program("temporal"),
        dev_server_extra_args=["--dynamic-config-value", threshold],
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
    )
    yield started.client
    await started.shutdown()


@pytest.fixture
async def ending(server: Client) -> AsyncIterator[str]:
    """The queue of a worker on which generations end as the test says."""
    runner = UnsandboxedWorkflowRunner()
    async with Worker(server, task_queue="ending", workflows=[Ending], workflow_runner=runner):
        yield "ending"


async def begun(
    client: Client, status: str, code: str | None = None, *, how: str = "", queue: str = "nobody"
) -> WorkflowHandle[Ending, None]:
    """A generation in the index."""
    pairs = [SearchAttributePair(_STATUS, status)]
    pairs += [SearchAttributePair(_CODE, code)] if code else []
    return await client.start_workflow(
        Ending.run,
        how,
        id=f"generation-{uuid.uuid4()}",
        task_queue=queue,
        search_attributes=TypedSearchAttributes(pairs),
    )


async def failed(client: Client, queue: str, code: str | None) -> None:
    """A generation that has failed."""
    with pytest.raises(WorkflowFailureError):
        await (await begun(client, "failed", code, how="fails", queue=queue)).result()


async def counted(client: Client, window_seconds: float = HOUR) -> Backlog:
    """What the activity says."""
    task = CountTask(window_seconds=window_seconds)
    return await Attempt().run(BacklogActivities(client).count_backlog, task)


async def becomes(look: Callable[[], Awaitable[Backlog]], wanted: Backlog) -> None:
    """Count until it is so."""
    seen = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (seen := await look()) != wanted:
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{seen} did not become {wanted}")


async def test_parked(server: Client) -> None:
    """Parked deliveries by their DeliveryError; what has another code, or none, is the rest."""
    for code in ("ODOO_REFUSED", "ODOO_REFUSED", "ODOO_UNAVAILABLE", "TIMEOUT", None):
        await begun(server, "parked", code)
    await begun(server, "generating", "ODOO_REFUSED")
    gone = await begun(server, "parked", "ODOO_REFUSED")
    await gone.terminate()
    wanted = {"ODOO_UNAVAILABLE": 1, "ODOO_REFUSED": 2, OTHER: 2}
    await becomes(lambda: counted(server), Backlog(parked=wanted))


async def test_failed(server: Client, ending: str) -> None:
    """Each code is counted, also what a provider's health reports; and what has no code."""
    for code in ("INTERNAL", "INTERNAL", "PROVIDER_TIMEOUT", "NOT_SERVED", None):
        await failed(server, ending, code)
    wanted = {"INTERNAL": 2, "PROVIDER_TIMEOUT": 1, "NOT_SERVED": 1, OTHER: 1}
    await becomes(lambda: counted(server), Backlog(failed=wanted, ended=5))


async def test_window(server: Client, ending: str) -> None:
    """A failure is counted within the window, and no longer."""
    await failed(server, ending, "INTERNAL")
    await becomes(lambda: counted(server), Backlog(failed={"INTERNAL": 1}, ended=1))
    await becomes(lambda: counted(server, 0.5), Backlog())
    assert await counted(server) == Backlog(failed={"INTERNAL": 1}, ended=1)


async def test_stuck(server: Client, ending: str) -> None:
    """A workflow whose code stumbles is counted, until it goes on."""
    stumbling = await begun(server, "generating", how="stumbles", queue=ending)
    await becomes(lambda: counted(server), Backlog(stuck=1))
    await stumbling.terminate()
    await becomes(lambda: counted(server), Backlog())


def client_with(server: Client, recorder: Recorder) -> Client:
    """Another client of the same server."""
    return Client(**{**server.config(), "interceptors": [recorder]})  # type: ignore[arg-type]  # a TypedDict, less strict


async def test_older_server(server: Client, ending: str) -> None:
    """A server without the attribute of stuck workflows counts the rest."""
    await begun(server, "generating", how="stumbles", queue=ending)
    await begun(server, "parked", "ODOO_REFUSED")
    await becomes(lambda: counted(server), Backlog(parked={"ODOO_REFUSED": 1}, stuck=1))
    older = client_with(server, Recorder(lambda query: query.replace("ReportedP", "OlderP")))
    assert await counted(older) == Backlog(parked={"ODOO_REFUSED": 1})


async def test_few_questions(server: Client) -> None:
    """While all is well it makes four counts, and does not ask for the codes of nothing."""
    recorder = Recorder()
    assert await counted(client_with(server, recorder)) == Backlog()
    assert len(recorder.queries) == 4


async def test_nothing_set_up(server: Client) -> None:
    """Without our search attributes it is an error, not a zero."""
    unknown = Recorder(lambda query: query.replace(GENERATION_STATUS, "Unknown"))
    with pytest.raises(RPCError, match="invalid search attribute"):
        await counted(client_with(server, unknown))


async def test_server_away() -> None:
    """A server that is away is an error, not a zero."""
    away = await Client.connect(refusing_url().removeprefix("http://"), lazy=True)
    with pytest.raises((RPCError, RuntimeError)):
        await BacklogActivities(away, timedelta(seconds=0.3)).count_backlog(
            CountTask(window_seconds=HOUR)
        )
