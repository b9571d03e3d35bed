"""A cancellation in every state: one outcome, one booking, and nothing left reserved."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from temporalio.service import RPCError

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import GenerationState
from contracts.names import RETRY_DELIVERY_UPDATE
from contracts.tasks import DeliveryDecision
from deploy.local.stack.config import CALLBACK_PATH
from starter.client import AsyncDuragenClient
from tests.activities.http_peer import Received, answer, listening
from tests.lab import CountingProxy, Lab, Ledgers, flux_behind_a_relay, working
from tests.workflows.reservations import begin, ended
from workers.settings import NotifySettings, Settings


async def _until(so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(100):
        while not await so():
            await asyncio.sleep(0.02)


async def _called(lab: Lab, request: GenerationRequested, operation: str = "submit") -> None:
    """Wait until the image service has seen such a call."""

    async def so() -> bool:
        return operation in [call["operation"] for call in (await lab.ledgers(request)).calls]

    await _until(so)


def _may_have_been_paid(ledgers: Ledgers) -> bool:
    """What the one event that Odoo got says of the cost."""
    [delivered] = ledgers.deliveries
    said: bool = delivered["event"]["mayHaveBeenPaid"]
    return said


async def _latency(lab: Lab, seconds: float) -> None:
    faults = f"{lab.stack.images_url}/_sandbox/faults"
    (await lab.http.put(faults, json={"latency_seconds": seconds})).raise_for_status()


async def test_an_image_that_comes_all_the_same_counts(lab: Lab, worker: None) -> None:
    """Canceled while the service paints, which finishes all the same: the image is delivered."""
    await _latency(lab, 1.5)
    request = lab.request()
    handle = await begin(lab, request)
    await _called(lab, request)
    await handle.cancel()
    word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.paid) == ("completed", 1)


async def test_a_call_that_was_accepted_and_never_answers_is_given_up(
    lab: Lab, worker: None
) -> None:
    """The service has charged us, and Odoo is informed of that; there is no second call."""
    await lab.break_images({"kind": "accept_then_hang"})
    request = lab.request()
    handle = await begin(lab, request)
    await _called(lab, request)
    await handle.cancel()
    word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.paid) == ("canceled", 1)
    assert _may_have_been_paid(ledgers)


@pytest.mark.parametrize("begun", [True, False])
async def test_the_cost_is_known_after_the_end(lab: Lab, settings: Settings, begun: bool) -> None:
    """Also to an Odoo that asks, because it never got the event."""
    client = AsyncDuragenClient(lab.stack.temporal_address)
    await lab.break_images({"kind": "accept_then_hang"})
    request = lab.request()
    if not begun:
        handle = await begin(lab, request)
        await handle.cancel()
    async with working(lab.client, settings):
        if begun:
            handle = await begin(lab, request)
            await _called(lab, request)
            await handle.cancel()
        word, _ = await ended(lab, request, handle)
    status = await client.status(str(request.request_id), ask_worker=False)
    error = status["error"]
    assert (word, status["state"], error["code"]) == ("canceled", "canceled", "CANCELED")
    assert error["mayHaveBeenPaid"] is begun


async def test_a_job_that_is_polled_is_left(lab: Lab, worker: None) -> None:
    """The job is not waited for any more, and its image is not fetched."""
    await _latency(lab, 60)
    request = lab.flux_request()
    handle = await begin(lab, request)
    await _called(lab, request, "poll")
    await handle.cancel()
    word, ledgers = await ended(lab, request, handle)
    operations = {call["operation"] for call in ledgers.calls}
    assert (word, operations) == ("canceled", {"submit", "poll"})
    assert _may_have_been_paid(ledgers)


async def test_the_pause_before_a_retry_is_cut_short(lab: Lab, worker: None) -> None:
    """After a 500: canceled at once, and not called again."""
    await lab.break_images(always={"kind": "status", "status": 500})
    request = lab.request()
    handle = await begin(lab, request)

    async def pausing() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any(each.attempt > 1 for each in pending)

    await _until(pausing)
    await handle.cancel()
    async with asyncio.timeout(3):
        word, ledgers = await ended(lab, request, handle)
    assert (word, len(ledgers.calls)) == ("canceled", 1)
    assert not _may_have_been_paid(ledgers)  # a service that answers 500 charges nothing


async def test_the_pause_before_a_new_job_is_cut_short(lab: Lab, worker: None) -> None:
    """After a job that failed: canceled at once, and no second job is paid for."""
    await lab.break_images(always={"kind": "error"})
    request = lab.flux_request()
    handle = await begin(lab, request)

    async def pausing() -> bool:
        history = await handle.fetch_history()
        return any(event.HasField("timer_started_event_attributes") for event in history.events)

    await _until(pausing)
    await handle.cancel()
    async with asyncio.timeout(3):
        word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.paid) == ("canceled", 1)


async def test_a_cancel_while_no_worker_runs_is_obeyed_by_the_next(
    lab: Lab, settings: Settings
) -> None:
    """The worker hands its job back and leaves; canceled then; the next one goes on to the end.

    The job was paid for, whoever polls it.
    """
    await _latency(lab, 60)
    request = lab.flux_request()
    async with working(lab.client, settings):
        handle = await begin(lab, request)
        await _called(lab, request, "poll")
    await handle.cancel()
    async with working(lab.client, settings):
        word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.paid) == ("canceled", 1)
    assert _may_have_been_paid(ledgers)


async def test_the_next_route_is_not_tried_for_who_has_canceled(
    lab: Lab, settings: Settings
) -> None:
    """The first route refuses after the cancellation: the second costs nothing."""
    may_answer = asyncio.Event()

    async def reply(asked: Received, *streams: Any) -> None:
        await may_answer.wait()
        await answer(402)(asked, *streams)

    async with listening() as peer:
        peer.says(reply)
        openai = settings.providers["openai"].model_copy(update={"base_url": peer.url})
        providers = {**settings.providers, "openai": openai}
        async with working(lab.client, settings.model_copy(update={"providers": providers})):
            request = lab.two_routes_request()
            handle = await begin(lab, request)
            await peer.arrived.wait()
            await handle.cancel()
            may_answer.set()
            word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.calls) == ("canceled", [])
    assert not _may_have_been_paid(ledgers)


async def test_the_second_route_is_left_as_the_first(lab: Lab, settings: Settings) -> None:
    """Canceled after the failover: Odoo receives CANCELED, not why the first route was left."""
    await lab.break_images({"kind": "status", "status": 402})
    async with (
        flux_behind_a_relay(lab, settings) as (relay, relayed),
        working(lab.client, relayed),
    ):
        relay.answers.clear()
        request = lab.two_routes_request()
        handle = await begin(lab, request)
        await _until(lambda: _paid(lab, request))
        await handle.cancel()
        relay.answers.set()
        word, ledgers = await ended(lab, request, handle)
    assert word == "canceled"
    assert ledgers.deliveries[0]["event"]["errorCode"] == ErrorCode.CANCELED
    assert _may_have_been_paid(ledgers)
    assert [call["protocol"] for call in ledgers.calls] == ["openai", "flux"]


async def _paid(lab: Lab, request: GenerationRequested) -> bool:
    return (await lab.ledgers(request)).paid > 0


@asynccontextmanager
async def _slow_odoo(lab: Lab, settings: Settings) -> AsyncIterator[CountingProxy]:
    """A worker, and an Odoo whose answers a test can hold back."""
    where = urlsplit(lab.stack.odoo_url)
    async with CountingProxy(where.hostname or "", where.port or 0) as relay:
        odoo = settings.odoo[0].model_copy(update={"origin": relay.url})
        async with working(lab.client, settings.model_copy(update={"odoo": (odoo,)})):
            yield relay


@pytest.mark.parametrize(
    ("prompt", "outcome"),
    [
        ("a red fox", "completed"),
        ("something forbidden", "refused"),
        ("sandbox:unpaid", "failed"),
    ],
)
async def test_a_cancel_during_the_delivery_comes_too_late(
    lab: Lab, settings: Settings, prompt: str, outcome: str
) -> None:
    """Odoo has booked the outcome and answers late: that outcome stays, delivered once."""
    async with _slow_odoo(lab, settings) as relay:
        relay.answers.clear()
        request = lab.request(prompt=prompt, callback_url=relay.url + CALLBACK_PATH)
        handle = await begin(lab, request)
        await _until(lambda: _delivered(lab, request))
        await handle.cancel()
        await handle.cancel()
        relay.answers.set()
        word, ledgers = await ended(lab, request, handle)
    assert (word, len(ledgers.deliveries)) == (outcome, 1)


async def _delivered(lab: Lab, request: GenerationRequested) -> bool:
    return bool((await lab.ledgers(request)).deliveries)


async def test_a_second_cancel_does_not_disturb_the_delivery_of_the_first(
    lab: Lab, settings: Settings
) -> None:
    """CANCELED is being delivered when the user clicks again: delivered once, and released."""
    async with _slow_odoo(lab, settings) as relay:
        relay.answers.clear()
        await _latency(lab, 60)
        request = lab.flux_request(callback_url=relay.url + CALLBACK_PATH)
        handle = await begin(lab, request)
        await _called(lab, request, "poll")
        await handle.cancel()
        await _until(lambda: _delivered(lab, request))
        await handle.cancel()
        relay.answers.set()
        word, ledgers = await ended(lab, request, handle)
    assert (word, len(ledgers.deliveries)) == ("canceled", 1)


async def test_a_cancel_while_the_user_is_being_notified_comes_too_late(
    lab: Lab, settings: Settings
) -> None:
    """Completed, and notified exactly once."""
    may_answer = asyncio.Event()

    async def reply(asked: Received, *streams: Any) -> None:
        await may_answer.wait()
        await answer(200)(asked, *streams)

    async with listening() as peer:
        peer.says(reply)
        notifying = settings.model_copy(update={"notify": NotifySettings(base_url=peer.url)})
        async with working(lab.client, notifying):
            request = lab.request()
            handle = await begin(lab, request)
            await peer.arrived.wait()
            await handle.cancel()
            may_answer.set()
            word, _ = await ended(lab, request, handle)
        notified = [(each.path, each.json["generationRequestId"]) for each in peer.received]
    assert word == "completed"
    assert notified == [("/notify/generation-success", str(request.request_id))]


async def test_a_cancel_and_a_retry_at_once_deliver(lab: Lab, worker: None) -> None:
    """Parked with its image; the user and an operator act in the same moment."""
    await lab.break_odoo(status=404)
    request = lab.request()
    handle = await begin(lab, request)
    await lab.reaches(handle, GenerationState.PARKED)
    await lab.clear_faults()
    retry = handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
    await asyncio.gather(handle.cancel(), retry)
    word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.paid) == ("completed", 1)


async def test_a_cancel_does_not_change_a_parked_failure(lab: Lab, worker: None) -> None:
    """It failed before it was canceled: Odoo gets the failure, and Temporal's filter shows it."""
    await lab.break_odoo(status=404)
    request = lab.request(prompt="sandbox:unpaid")
    handle = await begin(lab, request)
    await lab.reaches(handle, GenerationState.PARKED)
    await handle.cancel()
    await lab.clear_faults()
    await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="test"))
    word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.paid) == ("failed", 0)


async def test_a_cancel_after_the_end_is_answered_with_false(lab: Lab, worker: None) -> None:
    """However it ended; nothing is delivered or booked again."""
    client = AsyncDuragenClient(lab.stack.temporal_address)
    for prompt in ("a red fox", "something forbidden", "sandbox:unpaid"):
        request = lab.request(prompt=prompt)
        handle = await begin(lab, request)
        before = await ended(lab, request, handle)
        assert await client.cancel(str(request.request_id)) is False
        assert await ended(lab, request, handle) == before


async def test_cancels_at_any_moment_leave_the_ledger_in_order(lab: Lab, worker: None) -> None:
    """Forty generations on both protocols, canceled after 10 ms to 10 s, half of them twice.

    Most moments are early ones: where the machine is quick, all is over after a second.
    """
    chance = random.Random(3)

    async def one(number: int) -> str:
        request = lab.flux_request() if number % 2 else lab.request()
        handle = await begin(lab, request)
        for _ in range(1 + number // 2 % 2):
            await asyncio.sleep(10 ** chance.uniform(-2, 1))
            with suppress(RPCError):  # it has ended
                await handle.cancel()
        word, ledgers = await ended(lab, request, handle)
        assert ledgers.paid <= 1
        return word

    words = Counter(await asyncio.gather(*(one(number) for number in range(40))))
    assert set(words) == {"canceled", "completed"}, words
