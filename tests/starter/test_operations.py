"""Parked deliveries as operators see them: listed, tried again, given up."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from uuid import uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus

from contracts.errors import DeliveryError
from contracts.generation import GenerationState
from contracts.names import workflow_id
from peers.store import s3_client
from starter.client import NotFoundError
from starter.operations.bulk import in_bulk, these
from starter.operations.outages import Outages
from starter.operations.parked import (
    ACCEPT_SECONDS,
    AbandonError,
    NoWorkerError,
    Redelivery,
    abandon,
    count_parked,
    parked,
    redeliver,
    redeliver_one,
)
from tests.lab import Lab, working
from tests.starter.operating import (
    BY,
    begun,
    ended,
    ends,
    id_of,
    images_of,
    is_delivered_once,
    parked_with,
    redelivered,
    until,
)
from tests.workflows.odoo_peer import UNKNOWN_MODEL, odoo_peer, with_odoo
from workers.settings import Settings

MANY = 60


async def test_the_list_says_why_and_needs_no_worker(desk: Lab, settings: Settings) -> None:
    """Two codes, each with what Odoo said, since when, the next try; the same without a worker."""
    async with working(desk.client, settings):
        refused = await parked_with(desk, 2, status=404)
        away = await parked_with(desk, 1, status=503)
        with_worker = [each async for each in parked(desk.client)]
    without_worker = [each async for each in parked(desk.client)]
    assert with_worker == without_worker
    assert {each.workflow_id for each in with_worker} == {id_of(r) for r in refused + away}
    by_id = {each.workflow_id: each for each in with_worker}
    one, other = by_id[id_of(refused[0])], by_id[id_of(away[0])]
    assert one.trouble.code == DeliveryError.ODOO_REFUSED
    assert other.trouble.code == DeliveryError.ODOO_UNAVAILABLE
    assert "404" in one.trouble.detail
    assert "503" in other.trouble.detail
    assert one.correlation_id == str(refused[0].correlation_id)
    assert one.user_id == str(refused[0].user_id)
    assert one.trouble.since
    assert one.trouble.next_try
    assert one.trouble.next_try > one.trouble.since
    only = [each.workflow_id async for each in parked(desk.client, DeliveryError.ODOO_UNAVAILABLE)]
    assert only == [id_of(away[0])]


@pytest.mark.usefixtures("desk_worker")
async def test_one_is_redelivered_and_the_others_stay(desk: Lab) -> None:
    """After it was fixed: delivered, from one paid call; the list is one shorter."""
    first, second = await parked_with(desk, 2)
    await desk.clear_faults()
    [result] = await redelivered(desk, first)
    assert result == (id_of(first), Redelivery.DELIVERED, None, "")
    await ends(desk, first, GenerationState.COMPLETED)
    await is_delivered_once(desk, first)
    await until(lambda: count_parked(desk.client), 1)
    assert [each.workflow_id async for each in parked(desk.client)] == [id_of(second)]


@pytest.mark.usefixtures("desk_worker")
async def test_what_odoo_refuses_still_is_said_to_be_parked(desk: Lab) -> None:
    """With the code and the detail of this try, and one more attempt in the list."""
    [request] = await parked_with(desk, 1, status=404)
    await desk.break_odoo(status=418)
    [result] = await redelivered(desk, request)
    assert (result.result, result.code) == (Redelivery.STILL_PARKED, DeliveryError.ODOO_REFUSED)
    assert "418" in result.detail

    async def attempts() -> list[int]:
        return [each.trouble.attempts async for each in parked(desk.client)]

    await until(attempts, [2])


@pytest.mark.usefixtures("desk_worker")
async def test_one_bad_item_stops_no_other(desk: Lab) -> None:
    """Unknown, running, ended and parked in one go: each has its own result."""
    [done] = await begun(desk)
    await ended(desk, done)
    [waiting] = await parked_with(desk)
    await desk.clear_faults()
    await desk.break_images({"kind": "hang"})
    [running] = await begun(desk)
    handle = desk.client.get_workflow_handle(id_of(running))
    await desk.reaches(handle, GenerationState.GENERATING)
    unknown = desk.request()
    results = await redelivered(desk, unknown, done, running, waiting)
    by_id = {each.workflow_id: each for each in results}
    assert by_id[id_of(unknown)].result is Redelivery.NOT_FOUND
    assert by_id[id_of(done)].result is Redelivery.ALREADY
    assert by_id[id_of(running)].result is Redelivery.NOT_PARKED
    assert "generating" in by_id[id_of(running)].detail
    assert by_id[id_of(waiting)].result is Redelivery.DELIVERED
    await handle.terminate()


@pytest.mark.usefixtures("desk_worker")
async def test_two_operators_at_once_make_one_try(desk: Lab) -> None:
    """Both read that it was delivered; the second may come too late to wait for it."""
    [request] = await parked_with(desk)
    await desk.clear_faults()
    before = len((await desk.ledgers(request)).deliveries)
    results = await asyncio.gather(
        *(
            redeliver_one(desk.client, id_of(request), outages=Outages(desk.client), decision=BY)
            for _ in range(2)
        )
    )
    found = {each.result for each in results}
    assert Redelivery.DELIVERED in found
    assert found <= {Redelivery.DELIVERED, Redelivery.ALREADY}
    await ends(desk, request, GenerationState.COMPLETED)
    assert len((await desk.ledgers(request)).deliveries) == before + 1


async def test_without_a_worker_it_is_said_in_time(desk: Lab, settings: Settings) -> None:
    """No answer, not an endless wait; the generation stays parked."""
    async with working(desk.client, settings):
        [request] = await parked_with(desk)
    async with asyncio.timeout(2 * ACCEPT_SECONDS):
        results, given_up = await asyncio.gather(
            redelivered(desk, request),
            abandon(desk.client, id_of(request), BY),
            return_exceptions=True,
        )
    assert isinstance(results, list)
    assert [each.result for each in results] == [Redelivery.NO_WORKER]
    assert isinstance(given_up, NoWorkerError)
    assert await count_parked(desk.client) == 1


@pytest.mark.usefixtures("desk_worker")
async def test_many_are_as_easy_as_one(desk: Lab, settings: Settings) -> None:
    """Sixty parked, all redelivered: each one paid call, one image, one capture."""
    requests = await parked_with(desk, MANY)
    await desk.clear_faults()
    every = (each.workflow_id async for each in parked(desk.client))
    results = [each async for each in redeliver(desk.client, every, BY)]
    assert {each.result for each in results} == {Redelivery.DELIVERED}
    assert {each.workflow_id for each in results} == {id_of(request) for request in requests}
    store, bucket = s3_client(settings.storage), settings.storage.bucket
    for request in requests:
        await ends(desk, request, GenerationState.COMPLETED)
        await is_delivered_once(desk, request)
        assert await images_of(store, bucket, request) == 1
    await until(lambda: count_parked(desk.client), 0)


@pytest.mark.usefixtures("desk_worker")
async def test_an_abandoned_delivery_is_parked_no_more(desk: Lab) -> None:
    """It ends as abandoned, and says who and why; a second time is refused, as is an unknown id."""
    [request] = await parked_with(desk)
    await abandon(desk.client, id_of(request), BY)
    found = await ended(desk, request)
    assert found.status is WorkflowExecutionStatus.COMPLETED
    await ends(desk, request, GenerationState.ABANDONED)
    with pytest.raises(AbandonError, match="has ended"):
        await abandon(desk.client, id_of(request), BY)
    with pytest.raises(NotFoundError):
        await abandon(desk.client, workflow_id(uuid4()), BY)
    [result] = await redelivered(desk, request)
    assert result.result is Redelivery.NOT_PARKED
    assert "rerun" in result.detail


async def test_a_rate_is_kept() -> None:
    """At 20 a second, 11 take half a second at least; without a rate, no time."""
    begun_at: list[float] = []

    async def operation(number: int) -> int:
        begun_at.append(time.monotonic())
        return number

    numbers = list(range(11))
    assert sorted([n async for n in in_bulk(these(numbers), operation, rate=20)]) == numbers
    assert begun_at[-1] - begun_at[0] >= 0.5 - 0.05
    assert min(later - earlier for earlier, later in pairwise(begun_at)) >= 0.04
    begun_at.clear()
    assert len([n async for n in in_bulk(these(numbers), operation)]) == 11
    assert begun_at[-1] - begun_at[0] < 0.5


async def test_only_so_many_are_under_way() -> None:
    """Items are taken as they are needed, never more than `at_once` before their results are."""
    under_way = most = taken = 0
    go_on = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    async def operation(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1
        return number

    results = in_bulk(items(), operation, at_once=5)
    first = asyncio.ensure_future(anext(results))
    while under_way < 5:
        await asyncio.sleep(0)
    assert taken <= 6
    go_on.set()
    assert sorted([await first, *[each async for each in results]]) == list(range(50))
    assert most == 5


async def test_who_stops_listening_leaves_nothing_running() -> None:
    """After `aclose`, what was under way has been canceled."""
    canceled: list[int] = []

    async def operation(number: int) -> int:
        if number == 0:
            return number
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            canceled.append(number)
            raise
        return number

    results = in_bulk(these([0, 1, 2]), operation)
    assert await anext(results) == 0
    await results.aclose()
    assert set(canceled) == {1, 2}


async def test_an_odoo_that_is_away_is_probed_once(desk: Lab, settings: Settings) -> None:
    """Twelve are asked for, one is tried, and each is said to wait; once it is back, all go."""
    async with odoo_peer() as odoo, working(desk.client, with_odoo(settings, odoo)):
        odoo.status = 503
        requests = await begun(desk, 12, model_id=UNKNOWN_MODEL, callback_url=odoo.callback_url)
        await until(lambda: count_parked(desk.client), 12)
        spent, looks = len(odoo.attempts), odoo.gets
        for deliveries in (parked(desk.client), these([*map(id_of, requests)])):
            results = [each async for each in redeliver(desk.client, deliveries, BY)]
            assert {each.result for each in results} == {Redelivery.STILL_PARKED}
            assert {each.code for each in results} == {DeliveryError.ODOO_UNAVAILABLE}
            assert all("is away since" in each.detail for each in results)
        # Each probe that was asked for is one look and one trial; others were due meanwhile.
        assert len(odoo.attempts) - spent <= odoo.gets - looks < len(requests)
        odoo.status = 200
        results = await redelivered(desk, *requests)
        good = {Redelivery.DELIVERED, Redelivery.ALREADY}
        # They end as failed: of an unknown model there is no image, and Odoo knows that now.
        assert {each.result for each in results} <= good
        assert odoo.taken == {str(each.request_id): 1 for each in requests}
