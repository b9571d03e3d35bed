"""When the workflow makes a call again, and what it counts: by scripted activities.

No real outage can be made to fall between two lines of a worker, and no clock be made to stand, so
the activities and the plan are the test's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from contracts import names
from contracts.errors import ErrorCode
from contracts.generation import Failure, FlowRules, Job, Outcome, Plan, Route
from contracts.tasks import Collected, CollectTask, PlanTask, SubmitTask, Submitted
from tests.lab import Lab
from workflows.generation import Generation

JOB = Job(id="j-1", polling_url="http://127.0.0.1:1/j-1")
QUEUE = "repeating"


def failing(failure: Failure) -> ApplicationError:
    """As an activity ends for good."""
    return ApplicationError(failure.detail, failure, type=failure.code, non_retryable=True)


@asynccontextmanager
async def working(
    lab: Lab, submissions: list[Submitted | Failure], *, pause: float = 0.01
) -> AsyncIterator[list[int]]:
    """The real workflow; each submission ends as listed, and no job brings an image.

    Yields the numbers of the submissions that were made; `pause` in seconds is between two.
    """
    calls: dict[UUID, int] = {}
    made: list[int] = []

    @activity.defn(name=names.PLAN_ACTIVITY)
    async def plan(_: PlanTask) -> Plan:
        rules = FlowRules(new_job_pause_seconds=pause)
        return Plan(routes=(Route(provider=QUEUE, model="m"),), rules=rules)

    @activity.defn(name=names.SUBMIT_ACTIVITY)
    async def submit(task: SubmitTask) -> Submitted:
        number = calls.setdefault(task.request.request_id, 0)
        calls[task.request.request_id] += 1
        made.append(task.number)
        ended = submissions[number]
        if isinstance(ended, Failure):
            raise failing(ended)
        return ended

    @activity.defn(name=names.COLLECT_ACTIVITY)
    async def collect(_: CollectTask) -> Collected:
        raise failing(Failure(code=ErrorCode.MODEL_CONFIG, detail="too small", perhaps_paid=1))

    generation, queue = names.GENERATION_QUEUE, names.provider_queue(QUEUE)
    jobs = names.provider_jobs_queue(QUEUE)
    async with (
        Worker(lab.client, task_queue=generation, workflows=[Generation], activities=[plan]),
        Worker(lab.client, task_queue=queue, activities=[submit]),
        Worker(lab.client, task_queue=jobs, activities=[collect]),
    ):
        yield made


@pytest.mark.parametrize("counted", [0, 1])
async def test_a_loss_that_was_none(lab: Lab, counted: int) -> None:
    """It is taken back once when it was counted, and never when it was not."""
    lost = Failure(
        code=ErrorCode.OUTCOME_UNKNOWN, detail="died", perhaps_paid=counted, worker_lost=True
    )
    async with working(lab, [lost, Submitted(job=JOB, recovered=True)]) as made:
        with pytest.raises(WorkflowFailureError) as caught:
            await lab.outcome(lab.request())
    [details] = caught.value.cause.details  # type: ignore[union-attr]  # an ApplicationError
    failure = Outcome.model_validate(details).failure
    assert failure
    assert (failure.code, failure.perhaps_paid) == (ErrorCode.MODEL_CONFIG, 1)
    assert made == [0, 0]  # one submission, made twice


async def test_no_call_is_begun_that_would_be_cut_off(lab: Lab) -> None:
    """After the pause a minute of ten would be left, and a call needs two: the first one counts."""
    page = Failure(
        code=ErrorCode.PROVIDER_TIMEOUT, detail="a page", perhaps_paid=1, repeatable=True
    )
    async with working(lab, [page], pause=540) as made:
        with pytest.raises(WorkflowFailureError) as caught:
            await lab.outcome(lab.request())
    assert getattr(caught.value.cause, "type", None) == ErrorCode.PROVIDER_TIMEOUT
    assert made == [0]
