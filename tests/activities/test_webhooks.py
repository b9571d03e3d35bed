"""One attempt of a webhook, with receivers of every kind. Odoo is a peer that has what to send."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.exceptions import ApplicationError

from activities.webhooks import AT_ONCE_EACH, WebhookActivities, WebhookSource
from contracts.webhooks import WebhookEnd, WebhookSent, WebhookTask
from peers.clients import public_client
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import (
    Peer,
    Reply,
    answer,
    drip,
    hang,
    html,
    listening,
    refusing_url,
    reset,
)
from tests.peers.resolving import HERE, here_is_public, resolving

PATH = "/duragen/v1/webhooks"


class Sending:
    """The activity, the Odoo that it asks, and a receiver that may be private."""

    def __init__(self, odoo: Peer, receiver: Peer, http: httpx.AsyncClient) -> None:
        self.odoo = odoo
        self.receiver = receiver
        self.http = http
        self.says(receiver.url + "/hook")
        receiver.says(answer(200))

    def says(self, url: str | None, **more: Any) -> None:
        """What Odoo has to send."""
        self.odoo.says(
            answer(200, {"url": url, "headers": {"webhook-id": "msg_1"}, "body": "{}"} | more)
        )

    def activities(
        self, public: httpx.AsyncClient, *private: str, slots: int = 100
    ) -> WebhookActivities:
        """Those of a worker."""
        source = WebhookSource((), (), PATH)
        return WebhookActivities(
            {self.odoo.url: source},
            self.http,
            self.http,
            public,
            private=frozenset(private),
            slots=slots,
        )

    def task(self, receiver: str = "one") -> WebhookTask:
        """The first attempt for a receiver."""
        return WebhookTask(
            delivery_id=uuid4(), source=self.odoo.url + PATH, receiver=receiver, number=1
        )

    async def sent(self, *private: str) -> WebhookSent:
        """What an attempt comes to; receivers at `private` may be called."""
        async with public_client() as public:
            activities = self.activities(public, *private)
            return await Attempt().run(activities.send_webhook, self.task())


@pytest.fixture
async def sending(http: httpx.AsyncClient) -> AsyncIterator[Sending]:
    """With peers of its own."""
    async with listening() as odoo, listening() as receiver:
        yield Sending(odoo, receiver, http)


@pytest.mark.parametrize(
    ("reply", "end", "status"),
    [
        (answer(200), WebhookEnd.DELIVERED, 200),
        (answer(204), WebhookEnd.DELIVERED, 204),
        (answer(200, "x" * 1_000_000), WebhookEnd.DELIVERED, 200),
        (answer(200, b"\\xff\\x00", {"content-encoding": "br"}), WebhookEnd.DELIVERED, 200),
        (html(), WebhookEnd.DELIVERED, 200),
        (answer(410), WebhookEnd.GONE, 410),
        (answer(302, headers={"location": "http://127.0.0.1:1/"}), WebhookEnd.FAILED, 302),
        (answer(500, "down"), WebhookEnd.FAILED, 500),
        (reset, WebhookEnd.FAILED, None),
    ],
)
async def test_what_a_receiver_answers(
    sending: Sending, reply: Reply, end: WebhookEnd, status: int | None
) -> None:
    """The status alone decides; a redirect is not followed."""
    sending.receiver.says(reply)
    sent = await sending.sent(sending.receiver.url)
    assert (sent.end, sent.status) == (end, status)
    [heard] = sending.receiver.received
    assert (heard.path, heard.headers["webhook-id"], heard.body) == ("/hook", "msg_1", b"{}")


@pytest.mark.parametrize(
    ("reply", "end", "said"),
    [(drip, WebhookEnd.DELIVERED, " "), (hang, WebhookEnd.FAILED, "no answer within 0 s")],
)
async def test_a_receiver_that_takes_its_time(
    sending: Sending, monkeypatch: pytest.MonkeyPatch, reply: Reply, end: WebhookEnd, said: str
) -> None:
    """Bounded; what comes behind the status does not matter."""
    monkeypatch.setattr("activities.webhooks.RECEIVER_SECONDS", 0.4)
    sending.receiver.says(reply)
    sent = await sending.sent(sending.receiver.url)
    assert sent.end is end
    assert said.strip() in sent.answer


@pytest.mark.parametrize(
    "url", ["https://x.example/a|b", "ftp://x.example", "", "/hook", "http://"]
)
async def test_what_is_no_url(sending: Sending, url: str) -> None:
    """An attempt that failed, and says why: the user sees it in the list."""
    sending.says(url)
    sent = await sending.sent()
    assert (sent.end, sent.status) == (WebhookEnd.FAILED, None)
    assert "URL" in sent.answer


async def test_nobody_listens(sending: Sending) -> None:
    """Neither there nor at a private address that the settings do not name."""
    url = refusing_url()
    sending.says(url)
    assert (await sending.sent(url)).end is WebhookEnd.FAILED
    sending.says(sending.receiver.url)
    sent = await sending.sent()
    assert (sent.end, sending.receiver.received) == (WebhookEnd.FAILED, [])
    assert sent.answer == "its address is not public"  # and not which it is


async def test_a_name_that_moves_to_a_private_address(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked up for each attempt, and each time the address is looked at."""
    here_is_public(monkeypatch)
    port = sending.receiver.port
    async with AsyncExitStack() as stack:
        public = Peer()
        public.says(answer(500))
        await stack.enter_async_context(await asyncio.start_server(public.serve, HERE, port))
        getaddrinfo, asked = resolving(HERE, "127.0.0.1")
        sending.says(f"http://moving.example:{port}/hook")
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        first, second = await sending.sent(), await sending.sent()
    assert (first.status, len(public.received)) == (500, 1)
    assert (second.status, sending.receiver.received) == (None, [])
    assert second.answer == "its address is not public"
    assert asked == ["moving.example"] * 2


@asynccontextmanager
async def _holding(
    sending: Sending, activities: WebhookActivities, number: int
) -> AsyncIterator[None]:
    """So many attempts for a receiver that is silent are under way."""
    sending.receiver.says(hang)
    running = [
        asyncio.create_task(Attempt().run(activities.send_webhook, sending.task("silent")))
        for _ in range(number)
    ]
    while len(sending.receiver.received) < number:
        sending.receiver.arrived.clear()
        await sending.receiver.arrived.wait()
    try:
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_a_silent_receiver_has_its_turns_and_no_more(sending: Sending) -> None:
    """The next one for it comes back later; another receiver's finds room."""
    async with public_client() as public:
        activities = sending.activities(public, sending.receiver.url, slots=10)
        async with _holding(sending, activities, AT_ONCE_EACH):
            with pytest.raises(ApplicationError) as refused:
                await Attempt().run(activities.send_webhook, sending.task("silent"))
            assert refused.value.next_retry_delay
            sending.receiver.says(answer(200))
            sent = await Attempt().run(activities.send_webhook, sending.task("another"))
            assert sent.end is WebhookEnd.DELIVERED


@pytest.mark.parametrize(
    "reply", [answer(503), answer(401), html(), reset, answer(200, "[]"), answer(200, {"url": 7})]
)
async def test_odoo_has_nothing_to_send(sending: Sending, reply: Reply) -> None:
    """That is no attempt: it is asked again."""
    sending.odoo.says(reply)
    async with public_client() as public:
        activities = sending.activities(public)
        await Attempt().failure(activities.send_webhook, sending.task())
    assert sending.receiver.received == []


async def test_what_is_reported(sending: Sending) -> None:
    """Odoo hears what came of it, and says when the webhook is off for days of failures."""
    sent = WebhookSent(end=WebhookEnd.FAILED, status=500, milliseconds=3, answer="down")
    task = sending.task().model_copy(update={"sent": sent})
    async with public_client() as public:
        activities = sending.activities(public)
        for said, failing in (({"failing": True}, True), ({"failing": 1}, False), ([], False)):
            sending.odoo.says(answer(200, said))
            reported = await Attempt().run(activities.report_webhook, task)
            assert reported.failing is failing
    assert json.loads(sending.odoo.received[0].body) == {
        "deliveryId": str(task.delivery_id),
        "do": "report",
        "attempt": 1,
        "end": "failed",
        "status": 500,
        "milliseconds": 3,
        "answer": "down",
    }
