"""An Odoo that is away: what it costs, how it is found back, what follows."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from contracts.errors import DeliveryError
from contracts.generation import GenerationState, GenerationView
from contracts.names import RETRY_DELIVERY_UPDATE
from contracts.odoo_health import OdooHealthRules
from contracts.tasks import DeliveryDecision
from tests.lab import Handle, Lab, working
from tests.workflows.odoo_peer import (
    UNKNOWN_MODEL,
    OdooPeer,
    found_away,
    health_of,
    odoo_peer,
    probed,
    seen,
    with_odoo,
)
from tests.workflows.relay import Relay, Wire
from workers.settings import Settings

SLOTS = 8
THRESHOLD = OdooHealthRules().failures_in_a_row


async def started(lab: Lab, odoo: OdooPeer, number: int) -> list[Handle]:
    """So many outcomes on their way to this Odoo, one after the other."""
    asked = [
        lab.request(model_id=UNKNOWN_MODEL, callback_url=odoo.callback_url) for _ in range(number)
    ]
    return [await lab.start(each) for each in asked]


async def parked(lab: Lab, handles: list[Handle]) -> list[GenerationView]:
    """Wait until all of them are."""
    return list(
        await asyncio.gather(*(lab.reaches(each, GenerationState.PARKED) for each in handles))
    )


async def delivered(handles: list[Handle]) -> None:
    """Wait until all have ended: they fail with MODEL_CONFIG, once Odoo has that."""
    async with asyncio.timeout(200):
        await asyncio.gather(*(each.result() for each in handles), return_exceptions=True)


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is so."""
    async with asyncio.timeout(100):
        while not await look():
            await asyncio.sleep(0.05)


def ids(handles: list[Handle]) -> list[str]:
    """Their request ids."""
    return [each.id.removeprefix("generation-") for each in handles]


async def test_an_outage_costs_a_constant(lab: Lab, settings: Settings) -> None:
    """Fifty outcomes cost what finds out that Odoo is away; then each is delivered once."""
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = 503
        handles = await started(lab, odoo, 50)
        views = await parked(lab, handles)
        spent = len(odoo.attempts)
        assert THRESHOLD <= spent <= THRESHOLD + SLOTS - 1
        held = [view.parked for view in views if view.parked and view.parked.held]
        assert len(held) >= 50 - spent
        assert {each.code for each in held} == {DeliveryError.ODOO_UNAVAILABLE}
        assert "is away since" in held[0].detail
        odoo.status = 200
        await delivered(handles)
        assert odoo.taken == dict.fromkeys(ids(handles), 1)
        assert len(odoo.attempts) == spent + 50


async def test_one_that_is_held_is_tried_no_more_by_asking(lab: Lab, settings: Settings) -> None:
    """`retry_delivery` looks whether Odoo is back; while it is not, nothing is sent."""
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = 503
        handles = await started(lab, odoo, 12)
        await parked(lab, handles)
        spent = len(odoo.attempts)
        for each in handles:
            view = await each.execute_update(
                RETRY_DELIVERY_UPDATE, DeliveryDecision(), result_type=GenerationView
            )
            assert view.parked
            assert view.parked.held
        assert len(odoo.attempts) == spent
        odoo.status = 200
        await probed(lab.client, odoo)
        # The very next question is not answered with what was known before.
        try:
            view = await handles[-1].execute_update(
                RETRY_DELIVERY_UPDATE, DeliveryDecision(), result_type=GenerationView
            )
        except (WorkflowUpdateFailedError, RPCError):  # the release, or the trial, was faster
            pass
        else:
            assert view.parked is None
        await delivered(handles)
        assert odoo.taken == dict.fromkeys(ids(handles), 1)


async def test_each_probe_tries_another_outcome(lab: Lab, settings: Settings) -> None:
    """Its door opens and nothing is taken: one attempt a probe, of another outcome each time."""
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status, odoo.looks = 503, 200
        handles = await started(lab, odoo, 12)
        await parked(lab, handles)
        found = len(odoo.attempts)
        gets = odoo.gets
        for _ in range(3):
            view = await probed(lab.client, odoo)
            assert view.away_since
        trials = odoo.attempts[found:]
        assert len(trials) == odoo.gets - gets >= 3
        assert len(set(trials)) == len(trials)
        odoo.status = 200
        await delivered(handles)


async def test_an_odoo_whose_page_is_broken_comes_back(lab: Lab, settings: Settings) -> None:
    """Its address answers 503, from a proxy or a broken page: what it takes counts."""
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = odoo.looks = 503
        handles = await started(lab, odoo, 12)
        await parked(lab, handles)
        odoo.status = 200
        assert (await probed(lab.client, odoo)).away_since is None
        await delivered(handles)
        assert odoo.taken == dict.fromkeys(ids(handles), 1)


async def test_a_broken_page_is_looked_behind_now_and_then(lab: Lab, settings: Settings) -> None:
    """One probe in six delivers an outcome although the look was answered with 503."""
    soon = {"probe_seconds": 0.2, "asked_probe_seconds": 0.2}
    rules = OdooHealthRules().model_copy(update=soon)
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = odoo.looks = 503
        await found_away(lab, odoo, rules)
        handles = await started(lab, odoo, 1)
        await parked(lab, handles)
        attempts, looks = len(odoo.attempts), odoo.gets
        odoo.status = 200
        await delivered(handles)
        assert odoo.taken == dict.fromkeys(ids(handles), 1)
        most = (odoo.gets - looks) // rules.thorough_every + 1
        assert len(odoo.attempts) - attempts <= most


async def test_a_store_that_is_away_says_nothing_of_odoo(lab: Lab, settings: Settings) -> None:
    """An Odoo that gets the image itself: the trial has none to give, and Odoo counts as back."""
    async with odoo_peer() as odoo, Relay(lab.stack.s3_url) as wire:
        storage = settings.storage.model_copy(update={"endpoint_url": wire.url})
        through = settings.model_copy(update={"storage": storage})
        async with working(lab.client, with_odoo(through, odoo, images="data")):
            odoo.status, odoo.looks = 503, 200
            await found_away(lab, odoo, OdooHealthRules())
            handle = await lab.start(lab.request(callback_url=odoo.callback_url))
            await parked(lab, [handle])
            wire.wire = Wire.CUT
            attempts = len(odoo.attempts)
            odoo.status = 200
            assert (await probed(lab.client, odoo)).away_since is None
            [view] = await parked(lab, [handle])
            assert view.parked
            assert view.parked.code == DeliveryError.STORE_UNAVAILABLE
            assert len(odoo.attempts) == attempts
            wire.wire = Wire.WHOLE
            await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision())
            await delivered([handle])
            assert odoo.taken == dict.fromkeys(ids([handle]), 1)


async def test_one_poison_outcome_keeps_no_other_parked(lab: Lab, settings: Settings) -> None:
    """Odoo stumbles over one outcome alone: when it is back, all others are delivered."""
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = 503
        handles = await started(lab, odoo, 20)
        await parked(lab, handles)
        # Of all, the one that the first probe will try: the latest.
        *others, poison = handles
        odoo.poison, odoo.status = ids([poison]), 200
        assert (await probed(lab.client, odoo)).away_since
        assert (await probed(lab.client, odoo)).away_since is None
        await delivered(others)
        assert odoo.taken == dict.fromkeys(ids(others), 1)
        view = await lab.reaches(poison, GenerationState.PARKED)
        assert view.parked
        odoo.poison = ()
        await poison.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision())
        await delivered([poison])


async def test_the_oldest_are_released_first(lab: Lab, settings: Settings) -> None:
    """In the order in which they were started, as many at a time as keep the slots busy."""
    async with odoo_peer() as odoo:
        async with working(lab.client, with_odoo(settings, odoo, max_in_flight=1)):
            odoo.status = 503
            handles = await started(lab, odoo, 30)
            await parked(lab, handles)
            found = len(odoo.attempts)
            odoo.status = 200
            await delivered(handles)
        trial, *released = odoo.attempts[found:]
        wanted = [each for each in ids(handles) if each != trial]
        places = [abs(released.index(each) - place) for place, each in enumerate(wanted)]
        assert max(places) <= 2  # two at a time


async def test_a_release_goes_on_when_its_worker_is_gone(lab: Lab, settings: Settings) -> None:
    """Another worker releases what is left; nothing is delivered twice."""
    async with odoo_peer() as odoo:
        slow = with_odoo(settings, odoo, deliveries_per_second=5)
        async with working(lab.client, slow):
            odoo.status = 503
            handles = await started(lab, odoo, 30)
            await parked(lab, handles)
            odoo.status = 200

            async def some_are_taken() -> bool:
                return len(odoo.taken) >= 5

            await until(some_are_taken)
        assert len(odoo.taken) < 30
        async with working(lab.client, slow):
            await delivered(handles)
        assert set(odoo.taken) == set(ids(handles))


async def test_a_refusal_says_nothing_of_the_others(lab: Lab, settings: Settings) -> None:
    """Twenty refused outcomes are twenty answers: Odoo is well, and nothing is reported."""
    async with odoo_peer() as odoo, working(lab.client, with_odoo(settings, odoo)):
        odoo.status = 404
        handles = await started(lab, odoo, 20)
        views = await parked(lab, handles)
        assert {view.parked.code for view in views if view.parked} == {DeliveryError.ODOO_REFUSED}
        assert (await seen(lab.client, odoo)).well
        with pytest.raises(Exception, match="not found"):
            await health_of(lab.client, odoo).describe()
        odoo.status = 200
        for each in handles:
            await each.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision())
        await delivered(handles)


async def test_a_silent_odoo_holds_no_other_up(lab: Lab, settings: Settings) -> None:
    """Thirty outcomes for an Odoo that never answers: another Odoo's generation completes."""
    connected = 0
    let_go = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        await let_go.wait()
        writer.transport.abort()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    rpc = {"delivery": "odoorpc", "database": "x", "login": "x", "password": "x-password"}
    peer = OdooPeer(url)
    async with working(lab.client, with_odoo(settings, peer, **rpc)):
        waiting = await started(lab, peer, 30)

        async def all_slots_hang() -> bool:
            return connected == SLOTS

        await until(all_slots_hang)
        request = lab.request()
        assert (await lab.outcome(request)).state is GenerationState.COMPLETED
        assert len((await lab.ledgers(request)).deliveries) == 1
        assert connected == SLOTS
        for each in waiting:
            assert (await lab.view(each)).state is GenerationState.DELIVERING
            await each.terminate()
        let_go.set()
        server.close()
