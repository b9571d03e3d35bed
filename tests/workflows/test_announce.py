"""Announcing: the user and the message broker, beside each other, once Odoo has the outcome.

By scripted activities: what they do is theirs, when they are called is the workflow's.
`tests/rabbitmq` has the real broker.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from contracts import names
from contracts.errors import DeliveryError
from contracts.generation import GenerationState, Plan, Route, StoredImage
from contracts.tasks import (
    Delivered,
    DeliverTask,
    DeliveryDecision,
    PlanTask,
    SubmitTask,
    Submitted,
)
from tests.lab import Lab
from workflows.generation import Generation

ODOO = "http://announcing.example.com"
QUEUE = "announcing"


class Others:
    """Odoo, the notification service and the broker; `calls` has whom the workflow called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.odoo_refuses = False
        self.broker_is_back = asyncio.Event()
        self.broker_is_back.set()
        self.service_answers = asyncio.Event()
        self.service_answers.set()

    @activity.defn(name=names.DELIVER_ACTIVITY)
    async def deliver(self, _: DeliverTask) -> Delivered:
        """To Odoo."""
        self.calls.append("odoo")
        if self.odoo_refuses:
            code = DeliveryError.ODOO_REFUSED
            raise ApplicationError("not now", type=code, non_retryable=True)
        return Delivered(answer="204")

    @activity.defn(name=names.NOTIFY_ACTIVITY)
    async def notify(self, _: DeliverTask) -> Delivered:
        """The user; the service hangs until the event is set."""
        self.calls.append("user")
        await self.service_answers.wait()
        return Delivered(answer="202")

    @activity.defn(name=names.PUBLISH_ACTIVITY)
    async def publish(self, _: DeliverTask) -> Delivered:
        """The broker; it is away until the event is set."""
        self.calls.append("broker")
        if not self.broker_is_back.is_set():
            raise ApplicationError("RabbitMQ cannot be reached")
        return Delivered(answer="taken")


@asynccontextmanager
async def announcing(
    lab: Lab, *, notify: bool = True, publish: bool = True
) -> AsyncIterator[Others]:
    """The real workflow, with such a plan."""
    others = Others()

    @activity.defn(name=names.PLAN_ACTIVITY)
    async def plan(_: PlanTask) -> Plan:
        routes = (Route(provider=QUEUE, model="m"),)
        return Plan(routes=routes, odoo=ODOO, notify=notify, publish=publish)

    @activity.defn(name=names.SUBMIT_ACTIVITY)
    async def submit(task: SubmitTask) -> Submitted:
        key = names.image_key(task.request.request_id, "png")
        image = {
            "key": key,
            "format": "png",
            "size": 9,
            "width": 8,
            "height": 8,
            "sha256": "ab" * 32,
        }
        return Submitted(image=StoredImage.model_validate(image))

    generation, provider = names.GENERATION_QUEUE, names.provider_queue(QUEUE)
    async with (
        Worker(lab.client, task_queue=generation, workflows=[Generation], activities=[plan]),
        Worker(lab.client, task_queue=provider, activities=[submit]),
        Worker(lab.client, task_queue=names.odoo_queue(ODOO), activities=[others.deliver]),
        Worker(lab.client, task_queue=names.NOTIFICATIONS_QUEUE, activities=[others.notify]),
        Worker(lab.client, task_queue=names.BROKER_QUEUE, activities=[others.publish]),
    ):
        yield others


@pytest.mark.parametrize(
    ("notify", "publish", "called"),
    [
        (True, True, ["broker", "odoo", "user"]),
        (True, False, ["odoo", "user"]),
        (False, True, ["broker", "odoo"]),
        (False, False, ["odoo"]),
    ],
)
async def test_whom_the_plan_names_is_informed(
    lab: Lab, called: list[str], *, notify: bool, publish: bool
) -> None:
    """Each once, and Odoo first."""
    async with announcing(lab, notify=notify, publish=publish) as others:
        await lab.outcome(lab.request())
    assert (others.calls[0], sorted(others.calls)) == ("odoo", called)


async def test_a_broker_that_is_away_holds_up_the_broker_alone(lab: Lab) -> None:
    """The user is notified meanwhile; the generation waits in `announcing` until it is back."""
    async with announcing(lab) as others:
        others.broker_is_back.clear()
        handle = await lab.start(lab.request())
        async with asyncio.timeout(100):
            while others.calls.count("broker") < 2:
                await asyncio.sleep(0.05)
        assert others.calls.count("user") == 1
        assert (await lab.view(handle)).state is GenerationState.ANNOUNCING
        others.broker_is_back.set()
        await handle.result()
        assert (await lab.view(handle)).state is GenerationState.COMPLETED
    assert others.calls.count("user") == 1


async def test_a_service_that_hangs_holds_up_the_user_alone(lab: Lab) -> None:
    """The broker has the outcome while the notification is still tried."""
    async with announcing(lab) as others:
        others.service_answers.clear()
        handle = await lab.start(lab.request())
        async with asyncio.timeout(100):
            while "broker" not in others.calls:
                await asyncio.sleep(0.05)
        assert others.calls.count("user") < 4  # after four the user would be given up
        others.service_answers.set()
        await handle.result()


async def test_nothing_is_announced_that_odoo_does_not_have(lab: Lab) -> None:
    """Neither while it is parked nor when it is abandoned."""
    async with announcing(lab) as others:
        others.odoo_refuses = True
        handle = await lab.start(lab.request())
        await lab.reaches(handle, GenerationState.PARKED)
        assert others.calls == ["odoo"]
        await handle.execute_update(names.ABANDON_DELIVERY_UPDATE, DeliveryDecision(by="test"))
        await handle.result()
    assert others.calls == ["odoo"]
