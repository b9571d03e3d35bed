"""What the image service answers when, and how often an image is paid for then."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import uuid4

import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError

from activities.providers.openai import OpenAISettings
from contracts.errors import ErrorCode
from contracts.generation import Outcome
from deploy.local.sandbox.images.painter import Picture, paint
from tests.activities.http_peer import Peer, Received, Reply, answer, html, listening, raw, reset
from tests.lab import TWO_ROUTES_MODEL_ID, Lab, working
from workers.settings import ModelSettings, RouteSettings, Settings

MODEL_ID = uuid4()
_PNG = paint(Picture("A lighthouse", 7, 128, 96))

GOOD = answer(200, {"data": [{"b64_json": base64.b64encode(_PNG).decode()}]})
HALF = answer(200, {"data": [{"b64_json": base64.b64encode(_PNG[:300]).decode()}]})
BUSY = answer(503, {"error": {"message": "later", "code": "server_is_overloaded"}})
PAGE = html(504)
LOST = html(502)
CUT = raw()


async def LINK(  # noqa: N802  # an answer, like the others
    received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """The image is made, and behind a link of the same host; what comes from there is cut off."""
    if received.method == "POST":
        url = f"http://{received.headers['host']}{LINK_PATH}"
        return await answer(200, {"data": [{"url": url}]})(received, reader, writer)
    return await raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n\x89PNG")(
        received, reader, writer
    )


LINK_PATH = "/images/1.png"


class Row(NamedTuple):
    """What each provider answers, call by call; and what comes of it."""

    first: tuple[Reply, ...]
    second: tuple[Reply, ...] = ()
    paid: int = 1
    ends: str = "completed"


ROWS = {
    "page, good": Row((PAGE, GOOD), paid=2),
    "lost by the proxy, good": Row((LOST, GOOD), paid=2),
    "reset, good": Row((reset, GOOD), paid=2),
    "503, page, good": Row((BUSY, PAGE, GOOD), paid=2),
    "503, reset, good": Row((BUSY, reset, GOOD), paid=2),
    "503, 503, page": Row((BUSY, BUSY, PAGE, GOOD), paid=2),
    "503, 503, reset": Row((BUSY, BUSY, reset, GOOD), paid=2),
    "page, 503, 503, reset": Row((PAGE, BUSY, BUSY, reset), paid=2, ends="OUTCOME_UNKNOWN"),
    "page, 503 for good": Row((PAGE, BUSY), ends="PROVIDER_UNAVAILABLE"),
    "lost behind a link, good": Row((LINK, GOOD), paid=2),
    "lost behind a link, twice": Row((LINK, LINK, GOOD), paid=2, ends="OUTCOME_UNKNOWN"),
    "503, 503, good": Row((BUSY, BUSY, GOOD)),
    "page, page": Row((PAGE, PAGE, GOOD), paid=2, ends="PROVIDER_TIMEOUT"),
    "reset, 503, reset": Row((reset, BUSY, reset, GOOD), paid=2, ends="OUTCOME_UNKNOWN"),
    "reset, 503, page": Row((reset, BUSY, PAGE, GOOD), paid=2, ends="PROVIDER_TIMEOUT"),
    "cut, 503, good": Row((CUT, BUSY, GOOD), paid=2),
    "half, good": Row((HALF, GOOD), paid=2),
    "half, half": Row((HALF, HALF, GOOD), paid=2, ends="INVALID_OUTPUT"),
    "503 for good | good": Row((BUSY,), (GOOD,)),
    "page | good": Row((PAGE, GOOD), (GOOD,), paid=2),
    "reset | good": Row((reset, GOOD), (GOOD,), paid=2),
    "half | good": Row((HALF, GOOD), (GOOD,), paid=2),
    "503, 503, reset | good": Row((BUSY, BUSY, reset, GOOD), (GOOD,), paid=2),
    "page | 503, good": Row((PAGE, GOOD), (BUSY, GOOD), paid=2),
    "reset | reset": Row((reset, GOOD), (reset, GOOD), paid=2, ends="OUTCOME_UNKNOWN"),
    "page | half": Row((PAGE, GOOD), (HALF, GOOD), paid=2, ends="INVALID_OUTPUT"),
}


class Service:
    """One provider: its answers to each row, in their order, the last one from then on.

    It answers nobody before all of `awaited` have asked: each is planned before a circuit can open.
    """

    def __init__(self, second: bool) -> None:
        self.awaited: set[str] = set()
        self._all_asked = asyncio.Event()
        self._second = second
        self.paid: dict[str, int] = dict.fromkeys(ROWS, 0)
        self._calls: dict[str, int] = dict.fromkeys(ROWS, 0)

    async def reply(
        self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One call. Only what says 503 is free."""
        if received.path == LINK_PATH:
            return await LINK(received, reader, writer)
        if received.method != "POST":  # a probe of the provider's health
            return await answer(404)(received, reader, writer)
        name = received.json["prompt"]
        self.awaited.discard(name)
        if not self.awaited:
            self._all_asked.set()
        await self._all_asked.wait()
        script = ROWS[name].second if self._second else ROWS[name].first
        said = script[min(self._calls[name], len(script) - 1)]
        self._calls[name] += 1
        self.paid[name] += said is not BUSY
        return await said(received, reader, writer)


@pytest.fixture
async def services(lab: Lab, settings: Settings) -> AsyncIterator[tuple[Service, Service]]:
    """Two providers that speak OpenAI's protocol, a model with one route and one with both."""

    def at(peer: Peer) -> OpenAISettings:
        key = SecretStr("sk-test-0123456789")
        return OpenAISettings(kind="openai", base_url=peer.url, api_key=key)

    def model(*providers: str) -> ModelSettings:
        routes = tuple(RouteSettings(provider=each, model="m") for each in providers)
        return ModelSettings(routes=routes)

    async with listening() as one, listening() as two:
        served = Service(second=False), Service(second=True)
        for peer, service in zip((one, two), served, strict=True):
            peer.says(service.reply)
        changed = settings.model_copy(
            update={
                "providers": {"one": at(one), "two": at(two)},
                "models": {MODEL_ID: model("one"), TWO_ROUTES_MODEL_ID: model("one", "two")},
            }
        )
        async with working(lab.client, changed):
            yield served


async def _ended(lab: Lab, name: str) -> tuple[str, int]:
    """How the row's generation ended, and what its failure says of perhaps paid calls."""
    request = lab.request(
        prompt=name,
        resolution="128x96",
        aspect_ratio="4:3",
        model_id=TWO_ROUTES_MODEL_ID if ROWS[name].second else MODEL_ID,
    )
    try:
        return str((await lab.outcome(request)).state), 0
    except WorkflowFailureError as error:
        [details] = error.cause.details  # type: ignore[union-attr]  # an ApplicationError
        failure = Outcome.model_validate(details).failure
        assert failure
        [delivery] = (await lab.ledgers(request)).deliveries
        assert delivery["event"]["mayHaveBeenPaid"] is (failure.perhaps_paid > 0)
        return failure.code, failure.perhaps_paid


async def test_taken_back_between_two_calls(lab: Lab, services: tuple[Service, Service]) -> None:
    """The first may have been paid for, a second is never made, and Odoo learns of the first."""
    request = lab.request(
        prompt="page, good", resolution="128x96", aspect_ratio="4:3", model_id=MODEL_ID
    )
    handle = await lab.start(request)
    async with asyncio.timeout(100):
        while not any(
            event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
            for event in (await handle.fetch_history()).events
        ):
            await asyncio.sleep(0.05)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    [delivery] = (await lab.ledgers(request)).deliveries
    event = delivery["event"]
    assert (event["errorCode"], event["mayHaveBeenPaid"]) == ("CANCELED", True)
    assert services[0].paid["page, good"] == 1


async def test_every_answer(lab: Lab, services: tuple[Service, Service]) -> None:
    """Each row pays what it says and no more, and its failure has the count."""
    services[0].awaited = set(ROWS)
    ended = await asyncio.gather(*(_ended(lab, name) for name in ROWS))
    found = {
        name: (code, services[0].paid[name] + services[1].paid[name])
        for name, (code, _) in zip(ROWS, ended, strict=True)
    }
    assert found == {name: (row.ends, row.paid) for name, row in ROWS.items()}
    for name, (code, perhaps_paid) in zip(ROWS, ended, strict=True):
        if code in set(ErrorCode):
            assert perhaps_paid == ROWS[name].paid, name
