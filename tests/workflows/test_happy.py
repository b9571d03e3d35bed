"""A generation that goes well, and what exactly it costs."""

import hashlib
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from contracts.generation import GenerationState
from contracts.names import image_key
from deploy.local.stack.config import BUCKET
from tests.lab import CountingProxy, Lab, billable, working
from workers.settings import ModelSettings, RouteSettings, Settings

EVENTS, ACTIONS, MAX_HISTORY_BYTES = 20, 6, 12 * 1024
# DESIGN, "Budget": whatever the image's size.


async def test_a_happy_generation_keeps_the_budget_with_a_large_image(
    lab: Lab, settings: Settings
) -> None:
    """An image of over 4 MB: 20 events, 6 actions, 12 KB, one call, one PUT, one delivery."""
    request = lab.request(resolution="1792x1792")
    store = urlsplit(lab.stack.s3_url)
    assert store.hostname
    assert store.port
    async with CountingProxy(store.hostname, store.port) as proxy:
        storage = settings.storage.model_copy(update={"endpoint_url": proxy.url})
        async with working(lab.client, settings.model_copy(update={"storage": storage})):
            handle = await lab.start(request)
            outcome = await handle.result()
    assert outcome.image
    assert outcome.image.size > 4_000_000
    description = await handle.describe()
    info = description.raw_description.workflow_execution_info
    assert info.history_length == EVENTS
    assert info.history_size_bytes <= MAX_HISTORY_BYTES
    assert billable(await handle.fetch_history()) == ACTIONS
    assert proxy.puts(f"{BUCKET}/{image_key(request.request_id, 'png')}") == 1
    ledgers = await lab.ledgers(request)
    assert [call["operation"] for call in ledgers.calls] == ["submit"]
    assert ledgers.paid == 1
    assert len(ledgers.deliveries) == 1


async def test_the_same_request_of_which_temporal_knows_nothing(lab: Lab, worker: None) -> None:
    """A second workflow, whose first attempt finds the image in the store: paid once."""
    request = lab.request()
    # As the lab starts it, Temporal refuses no id of a workflow that has ended.
    first, second = await lab.outcome(request), await lab.outcome(request)
    assert first.image
    assert second.image == first.image
    assert (await lab.ledgers(request)).paid == 1


async def test_a_job_costs_one_activity_more(lab: Lab, worker: None) -> None:
    """On FLUX the wait is an activity of its own: 26 events, 7 actions, one paid call."""
    request = lab.flux_request()
    handle = await lab.start(request)
    outcome = await handle.result()
    assert outcome.state is GenerationState.COMPLETED
    history = await handle.fetch_history()
    assert len(history.events) == 26
    assert billable(history) == 7
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    assert len(ledgers.deliveries) == 1


async def test_a_model_that_chooses_the_pixels(lab: Lab, settings: Settings) -> None:
    """One that knows only ratios: the image has its own size, which Odoo learns; paid once."""
    model_id = uuid4()
    route = RouteSettings(provider="flux", model="flux-kontext-pro", size_by="aspect_ratio")
    models = {model_id: ModelSettings(routes=(route,))}
    async with working(lab.client, settings.model_copy(update={"models": models})):
        request = lab.request(model_id=model_id, resolution="1792x1024", aspect_ratio="16:9")
        outcome = await lab.outcome(request)
    assert outcome.image
    assert (outcome.image.width, outcome.image.height) == (592, 336)
    ledgers = await lab.ledgers(request)
    assert ledgers.paid == 1
    [delivery] = ledgers.deliveries
    assert delivery["event"]["imageMetadata"]["width"] == 592


@pytest.mark.parametrize("flux", [False, True])
async def test_odoo_gets_a_link_to_the_very_image(lab: Lab, worker: None, flux: bool) -> None:
    """The link in EVT-AIG-002 yields the bytes whose SHA-256 is its hashValue."""
    request = lab.flux_request() if flux else lab.request()
    await lab.outcome(request)
    delivery = (await lab.ledgers(request)).deliveries[0]
    event = delivery["event"]
    async with httpx.AsyncClient(trust_env=False) as anybody:
        image = await anybody.get(event["imageUrl"])
    assert hashlib.sha256(image.content).hexdigest() == event["hashValue"]
    assert event["imageMetadata"] == {
        "format": "png",
        "size": len(image.content),
        "width": 256,
        "height": 256,
    }


async def test_the_history_holds_no_bytes_and_no_link(lab: Lab, worker: None) -> None:
    """Neither image nor presigned link ever enters the history."""
    request = lab.request()
    handle = await lab.start(request)
    await handle.result()
    history = (await handle.fetch_history()).to_json()
    event = (await lab.ledgers(request)).deliveries[0]["event"]
    assert "X-Amz-Signature" in event["imageUrl"]
    assert event["imageUrl"] not in history
    assert "X-Amz-Signature" not in history
    assert max(len(line) for line in history.splitlines()) < 4_096


async def test_operators_see_state_and_provider_but_no_prompt(lab: Lab, worker: None) -> None:
    """Search attributes and summaries are there; the prompt is in none of them."""
    request = lab.request()
    handle = await lab.start(request)
    await handle.result()
    description = await handle.describe()
    found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert found["GenerationStatus"] == "completed"
    assert found["Provider"] == "openai"
    summaries = [
        event.user_metadata.summary.data.decode()
        for event in (await handle.fetch_history()).events
        if event.user_metadata.HasField("summary")
    ]
    assert any("openai: gpt-image-2.5-flare" in summary for summary in summaries)
    assert any("completed to http" in summary for summary in summaries)
    assert not any(request.prompt in text for text in [*summaries, str(found)])
