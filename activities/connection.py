"""The connection test of an Odoo: does a worker know its models, and do callbacks reach it."""

import asyncio
from collections.abc import Collection, Mapping
from uuid import UUID

from temporalio import activity

from activities.errors import OdooError
from activities.odoo.deliver import OdooDelivery
from contracts.callbacks import callback_fault
from contracts.connection import CalledBack, ConnectionLook, ConnectionTestTask, TestEvent
from contracts.errors import ErrorCode
from contracts.events import origin_of
from contracts.generation import Failure, Outcome, Route
from contracts.names import CALL_BACK_ACTIVITY, LOOK_UP_ACTIVITY, odoo_queue
from contracts.plain import one_line
from contracts.tasks import DeliverTask

ANSWER_SECONDS = 5.0
"""For Odoo's answer to the test event: a person waits."""

DETAIL_CHARACTERS = 500
_NOBODY = UUID(int=0)


class ConnectionActivities:
    """Over the worker's settings: `routes` of each model, `queues` of each provider.

    `callbacks` has the paths of each Odoo's origin, `odoos` the ways to them; those in `by_broker`
    take their outcomes from the message broker.
    """

    def __init__(
        self,
        routes: Mapping[UUID, tuple[Route, ...]],
        queues: Mapping[str, tuple[str, ...]],
        callbacks: Mapping[str, Collection[str]],
        odoos: Mapping[str, OdooDelivery],
        by_broker: Collection[str] = (),
    ) -> None:
        self._routes = routes
        self._queues = queues
        self._callbacks = callbacks
        self._odoos = odoos
        self._by_broker = by_broker

    @activity.defn(name=LOOK_UP_ACTIVITY)
    async def look_up(self, task: ConnectionTestTask) -> ConnectionLook:
        """Look the models and the callback up in the settings; no I/O."""
        known = [each for each in task.model_ids if each in self._routes]
        queues = {
            queue
            for model_id in known
            for route in self._routes[model_id]
            for queue in self._queues.get(route.provider, ())
        }
        fault = odoo = unchecked = None
        if task.callback_url is not None:
            fault = callback_fault(task.callback_url, self._callbacks)
            odoo = None if fault else origin_of(task.callback_url)
        if odoo:
            queues.add(odoo_queue(odoo))
        if odoo in self._by_broker:
            odoo, unchecked = None, 'its [[odoo]] has delivery = "rabbitmq"'
        return ConnectionLook(
            unknown_models=tuple(each for each in task.model_ids if each not in self._routes),
            queues=tuple(sorted(queues)),
            odoo=odoo,
            fault=fault,
            unchecked=unchecked,
        )

    @activity.defn(name=CALL_BACK_ACTIVITY)
    async def call_back(self, task: ConnectionTestTask) -> CalledBack:
        """Send the test event as outcomes are sent: the same guard, token, signatures, headers."""
        url = str(task.callback_url)
        if fault := callback_fault(url, self._callbacks):
            return CalledBack(ok=False, detail=fault)
        failure = Failure(code=ErrorCode.INTERNAL, detail="a connection test")
        delivery = DeliverTask(
            request_id=task.request_id,
            correlation_id=task.correlation_id,
            user_id=_NOBODY,
            callback_url=url,
            odoo=origin_of(url),
            outcome=Outcome(failure=failure),
        )
        ids = {"request_id": task.request_id, "correlation_id": task.correlation_id}
        event = TestEvent(**ids, status="test")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._odoos[delivery.odoo].deliver(delivery, event)
        except OdooError as error:
            return CalledBack(ok=False, detail=_short(error.detail))
        except TimeoutError:
            return CalledBack(ok=False, detail=f"{url} had no answer within {ANSWER_SECONDS:g} s")
        return CalledBack(ok=True, detail=_short(answer))


def _short(text: str) -> str:
    return one_line(text)[:DETAIL_CHARACTERS]
