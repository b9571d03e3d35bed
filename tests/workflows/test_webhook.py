"""The workflow of one webhook: its schedule of hours, and what ends it before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from contracts.names import GENERATION_QUEUE, WEBHOOK_ID_PREFIX, WEBHOOK_WORKFLOW
from contracts.webhooks import PAUSES_SECONDS, WebhookEnd, WebhookSent, WebhookTask
from tests.activities.http_peer import Peer, Received, answer, listening
from tests.lab import Lab, working
from tests.workflows.alerting_peer import AlertLog
from workers.settings import Settings, WebhookSettings

Skipping = tuple[Lab, WorkflowEnvironment]

NOT_PUBLIC = "http://127.0.0.1:1/"
"""Nothing is sent there: each attempt fails at once."""

PATH = "/duragen/v1/webhooks"


class _Odoo:
    """Has the request to send; `refuses` calls are answered 503 before."""

    def __init__(self, peer: Peer, receiver: str) -> None:
        self.source = peer.url + PATH
        self.receiver: str | None = receiver
        self.refuses = 0
        self.fails_from = 0
        """The attempt from which on the webhook counts as one that fails for days; 0: never."""
        self.said: list[dict[str, Any]] = []
        peer.says(self._reply)

    async def _reply(self, received: Received, *connection: Any) -> None:
        said = received.json
        self.said.append(said)
        if self.refuses:
            self.refuses -= 1
            await answer(503)(received, *connection)
            return
        failing = 0 < self.fails_from <= said["attempt"]
        body: dict[str, Any] = {"failing": failing}
        if said["do"] == "prepare":
            body = {"drop": "it is gone"}
            if self.receiver:
                body = {"url": self.receiver, "headers": {"webhook-id": "msg_1"}, "body": "{}"}
        await answer(200, body)(received, *connection)

    @property
    def reports(self) -> list[tuple[int, str]]:
        """Attempts and what came of them."""
        return [(each["attempt"], each["end"]) for each in self.said if each["do"] == "report"]


@asynccontextmanager
async def _odoo(settings: Settings, *private: str) -> AsyncIterator[tuple[_Odoo, Settings]]:
    async with listening() as peer:
        [known] = settings.odoo
        changed = {
            "odoo": (known.model_copy(update={"origin": peer.url}),),
            "webhooks": WebhookSettings(private=private),
        }
        yield (
            _Odoo(peer, private[0] if private else NOT_PUBLIC),
            settings.model_copy(update=changed),
        )


async def _start(client: Client, odoo: _Odoo) -> WorkflowHandle[Any, WebhookSent]:
    delivery_id = uuid4()
    task = WebhookTask(delivery_id=delivery_id, source=odoo.source, receiver="one")
    return await client.start_workflow(
        WEBHOOK_WORKFLOW,
        task,
        id=f"{WEBHOOK_ID_PREFIX}{delivery_id}",
        task_queue=GENERATION_QUEUE,
        result_type=WebhookSent,
    )


async def test_the_whole_schedule(skipping: Skipping, settings: Settings, alerts: AlertLog) -> None:
    """At once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h; each is reported; then an alert."""
    _, environment = skipping
    async with _odoo(settings) as (odoo, changed):
        odoo.fails_from = len(PAUSES_SECONDS)
        async with working(environment.client, alerts.settings(changed)):
            handle = await _start(environment.client, odoo)
            assert (await handle.result()).end is WebhookEnd.FAILED
    assert odoo.reports == [(number, "failed") for number in range(1, 9)]
    history = await handle.fetch_history()
    timers = [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    assert timers == [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]
    [[alert]] = alerts.posts
    assert alert["labels"]["alertname"] == "DuragenWebhookDisabled"
    assert alert["labels"]["service"] == "webhook one"


async def test_odoo_is_away(skipping: Skipping, settings: Settings) -> None:
    """Nothing is sent, and that is no attempt: it goes on when Odoo is back."""
    _, environment = skipping
    async with listening() as receiver, _odoo(settings, receiver.url) as (odoo, changed):
        receiver.says(answer(204))
        odoo.refuses = 3
        async with working(environment.client, changed):
            sent = await (await _start(environment.client, odoo)).result()
        assert (sent.end, sent.status) == (WebhookEnd.DELIVERED, 204)
        assert len(receiver.received) == 1
        assert odoo.reports == [(1, "delivered")]


async def test_odoo_wants_it_no_more(skipping: Skipping, settings: Settings) -> None:
    """Switched off or deleted: nothing is sent, and it ends."""
    _, environment = skipping
    async with _odoo(settings) as (odoo, changed):
        odoo.receiver = None
        async with working(environment.client, changed):
            sent = await (await _start(environment.client, odoo)).result()
    assert (sent.end, sent.answer) == (WebhookEnd.DROPPED, "it is gone")
    assert odoo.reports == [(1, "dropped")]
