"""Odoo gets the outcome before the user is notified."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from contracts.generation import GenerationState
from contracts.names import ABANDON_DELIVERY_UPDATE, RETRY_DELIVERY_UPDATE
from contracts.tasks import DeliveryDecision
from tests.activities.http_peer import Peer, Received, Reply, answer, listening
from tests.lab import Lab, working
from workers.settings import NotifySettings, Settings


@pytest.fixture
async def service(client: Client, settings: Settings) -> AsyncIterator[Peer]:
    """The notification service of a worker on all queues."""
    async with listening() as peer:
        peer.says(answer(202))
        notify = NotifySettings(base_url=peer.url)
        async with working(client, settings.model_copy(update={"notify": notify})):
            yield peer


@pytest.mark.parametrize(
    ("prompt", "state"), [("a red fox", "completed"), ("something forbidden", "failed")]
)
async def test_odoo_has_the_outcome_when_the_user_is_notified(
    lab: Lab, service: Peer, prompt: str, state: str
) -> None:
    """Odoo books the credits, and a user who is notified looks there."""
    request = lab.request(prompt=prompt)
    in_odoo: list[str] = []

    async def look(received: Received, *connection: object) -> None:
        record = (await lab.ledgers(request)).record
        in_odoo.append(record["state"] if record else "unknown")
        await accepted(received, *connection)

    accepted: Reply = answer(202)
    service.says(look)
    await lab.outcome(request)
    assert in_odoo == [state]


async def test_the_user_is_not_notified_while_odoo_refuses_the_outcome(
    lab: Lab, service: Peer
) -> None:
    """The notification waits until a later try has delivered the outcome."""
    await lab.break_odoo(status=404)
    request = lab.request()
    handle = await lab.start(request)
    await lab.reaches(handle, GenerationState.PARKED)
    assert service.received == []
    await lab.clear_faults()
    await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
    await handle.result()
    assert [each.path for each in service.received] == ["/notify/generation-success"]


async def test_the_user_is_not_notified_of_an_abandoned_outcome(lab: Lab, service: Peer) -> None:
    """Odoo never gets it, so that the user would find nothing there."""
    await lab.break_odoo(status=404)
    handle = await lab.start(lab.request())
    await lab.reaches(handle, GenerationState.PARKED)
    await handle.execute_update(ABANDON_DELIVERY_UPDATE, DeliveryDecision(by="test"))
    await handle.result()
    assert service.received == []
