"""Processes that die between two lines: the generation ends well all the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from contracts.events import GenerationRequested
from contracts.generation import GenerationState
from contracts.names import image_key
from deploy.local.stack.config import BUCKET
from deploy.local.stack.local_stack import LocalStack
from peers.store import s3_client
from tests.lab import Lab, flux_behind_a_relay, working
from workers.settings import Settings


@pytest.fixture
async def breakable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """A stack of its own, the worker a process, so that any part can be killed."""
    parts = ("temporal", "store", "images", "odoo", "worker")
    stack = LocalStack(tmp_path_factory.mktemp("breakable"), parts)
    await asyncio.to_thread(stack.start)
    try:
        client = await Client.connect(
            stack.temporal_address, data_converter=pydantic_data_converter
        )
        async with Lab.open(stack, client) as lab:
            yield lab
    finally:
        await asyncio.to_thread(stack.stop)


async def _kill(stack: LocalStack, part: str) -> None:
    """`kill -9`; the stack starts the part again, as a service manager would."""
    supervisor = stack.supervisor(part)
    supervisor.kill()
    await asyncio.to_thread(supervisor.wait_ready, 30)


async def _called(lab: Lab, request: GenerationRequested, operation: str) -> None:
    async with asyncio.timeout(100):
        while operation not in {each["operation"] for each in (await lab.ledgers(request)).calls}:
            await asyncio.sleep(0.05)


async def test_a_killed_worker_and_then_a_killed_server_cost_no_second_job(
    breakable: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUX: the job is polled again by its id; one paid call, one image, one delivery."""
    lab = breakable
    url = f"{lab.stack.images_url}/_sandbox/faults"
    (await lab.http.put(url, json={"latency_seconds": 8})).raise_for_status()
    request = lab.flux_request()
    handle = await lab.start(request)
    await _called(lab, request, "poll")
    await _kill(lab.stack, "worker")
    await _kill(lab.stack, "temporal")
    outcome = await asyncio.wait_for(handle.result(), 90)
    assert outcome.state is GenerationState.COMPLETED
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert len(ledgers.deliveries) == 1
    monkeypatch.setenv("DURAGEN_CONFIG", str(lab.stack.config_path))
    store = s3_client(Settings.read().storage)
    prefix = f"generations/{request.request_id}"
    objects = store.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    assert [each["Key"] for each in objects] == [image_key(request.request_id, "png")]


async def test_an_image_that_stands_in_the_store_is_not_asked_for_again(breakable: Lab) -> None:
    """A worker that died after the upload left the image and nothing else: it is not paid again."""
    lab = breakable
    request = lab.request()
    assert (await lab.outcome(request)).image
    # The same request runs a second time, knowing nothing of the first run.
    assert (await lab.outcome(request)).image
    assert (await lab.ledgers(request)).paid == 1


async def test_a_server_that_is_away_when_a_job_is_accepted_costs_no_second_one(
    breakable: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """FLUX: Temporal could not record the job, so the worker remembers it for the next attempt."""
    lab = breakable
    await asyncio.to_thread(lab.stack.supervisor("worker").stop)
    monkeypatch.setenv("DURAGEN_CONFIG", str(lab.stack.config_path))
    request = lab.flux_request()
    async with (
        flux_behind_a_relay(lab, Settings.read()) as (relay, settings),
        working(lab.client, settings),
    ):
        relay.answers.clear()
        handle = await lab.start(request)
        await _called(lab, request, "submit")
        temporal = lab.stack.supervisor("temporal")
        await asyncio.to_thread(temporal.stop)
        relay.answers.set()
        async with asyncio.timeout(100):
            while "is remembered here" not in caplog.text:
                await asyncio.sleep(0.1)
        await asyncio.to_thread(temporal.start)
        await asyncio.to_thread(temporal.wait)
        outcome = await asyncio.wait_for(handle.result(), 90)
    assert outcome.state is GenerationState.COMPLETED
    assert (await lab.ledgers(request)).paid == 1
