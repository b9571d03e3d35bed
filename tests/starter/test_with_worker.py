"""The entry points with a worker behind them: the outcome as each of them shows it.

A module of its own, with its own server, so that the worker finds no other test's generations.
"""

import asyncio
from contextlib import suppress

import httpx
import pytest

from starter.client import AsyncDuragenClient, GenerationFailedError, NotFoundError
from starter.gateway_client import GatewayClient
from tests.starter.entry_points import REFUSING_ONCE, duragen, make_event

pytestmark = pytest.mark.usefixtures("worker")


async def test_a_completed_generation_has_its_image(client: AsyncDuragenClient) -> None:
    """`result` gives the image, and `status` agrees after the end."""
    event = make_event()
    await client.start(event)
    image = await client.result(event["requestId"], 20)
    found = await client.status(event["requestId"])
    assert image["key"] == f"generations/{event['requestId']}.png"
    assert (found["state"], found["progress"], found["image"]) == ("completed", 100, image)


@pytest.mark.parametrize("code", ["POLICY_INPUT", "MODEL_CONFIG"])
async def test_a_failed_generation_has_its_code(client: AsyncDuragenClient, code: str) -> None:
    """A user's error (completed workflow) and ours (failed workflow) look alike."""
    event = make_event(prompt=code)
    await client.start(event)
    with pytest.raises(GenerationFailedError) as caught:
        await client.result(event["requestId"], 20)
    assert (caught.value.code, caught.value.detail) == (code, "the service said no")
    found = await client.status(event["requestId"])
    assert (found["state"], found["error"]["code"]) == ("failed", code)


async def test_a_failure_keeps_its_two_texts_apart(http: httpx.AsyncClient) -> None:
    """The caller gets the user's text; the operator's detail is not for callers."""
    event = make_event(prompt="POLICY_INPUT")
    await http.post("/v1/generations", json=event)
    error = await ended(http, event["requestId"], "error")
    assert "detail" not in error
    assert "the service said no" not in str(error)
    assert "rephrase" in error["userMessage"]
    assert (error["code"], error["kind"], error["retrySuggestion"]) == (
        "POLICY_INPUT",
        "user",
        False,
    )


async def test_a_completed_generation_shows_its_image(http: httpx.AsyncClient) -> None:
    """GET gives the image's metadata once there is one."""
    event = make_event()
    await http.post("/v1/generations", json=event)
    image = await ended(http, event["requestId"], "image")
    assert (image["format"], image["width"]) == ("png", 1024)


async def ended(http: httpx.AsyncClient, request_id: str, part: str) -> dict[str, object]:
    """That part of the status, as soon as it is there."""
    async with asyncio.timeout(100):
        while True:
            found = (await http.get(f"/v1/generations/{request_id}")).json()
            if found[part]:
                part_found: dict[str, object] = found[part]
                return part_found


async def test_it_gets_the_image(caller: GatewayClient) -> None:
    """`result` polls until there is an image."""
    event = make_event()
    await asyncio.to_thread(caller.start, event)
    image = await asyncio.to_thread(caller.result, event["requestId"], 20)
    assert image["key"] == f"generations/{event['requestId']}.png"


async def test_it_gets_the_failure(caller: GatewayClient) -> None:
    """A failed generation is GenerationFailedError with its code."""
    event = make_event(prompt="POLICY_OUTPUT")
    await asyncio.to_thread(caller.start, event)
    with pytest.raises(GenerationFailedError) as caught:
        await asyncio.to_thread(caller.result, event["requestId"], 20)
    assert caught.value.code == "POLICY_OUTPUT"


async def parked(client: AsyncDuragenClient) -> str:
    """The id of a generation whose outcome was refused once."""
    event = make_event(callbackUrl=REFUSING_ONCE)
    await client.start(event)
    async with asyncio.timeout(100):
        while not (await client.status(event["requestId"]))["parked"]:
            await asyncio.sleep(0.02)
    request_id: str = event["requestId"]
    return request_id


async def test_a_parked_outcome_is_delivered_when_odoo_asks(client: AsyncDuragenClient) -> None:
    """`redeliver` does not wait for the next try; what has ended has nothing to deliver."""
    request_id = await parked(client)
    await client.redeliver(request_id)
    assert (await client.result(request_id, 20))["width"] == 1024
    with pytest.raises(NotFoundError):
        await client.redeliver(request_id)


async def test_a_status_needs_no_worker_to_work_for_it(client: AsyncDuragenClient) -> None:
    """Without asking one, it is what Temporal lists it by; the end is as complete as ever."""
    request_id = await parked(client)
    found = await client.status(request_id, ask_worker=False)
    assert (found["state"], found["live"], found["parked"]) == ("parked", False, None)
    await client.redeliver(request_id)
    image = await client.result(request_id, 20)
    ended = await client.status(request_id, ask_worker=False)
    assert (ended["state"], ended["image"]) == ("completed", image)


async def test_a_parked_outcome_is_delivered_through_the_gateway(
    client: AsyncDuragenClient, caller: GatewayClient
) -> None:
    """The same over HTTP."""
    request_id = await parked(client)
    await asyncio.to_thread(caller.redeliver, request_id)
    assert (await asyncio.to_thread(caller.result, request_id, 20))["width"] == 1024


async def test_redelivering_what_is_not_parked_does_nothing(client: AsyncDuragenClient) -> None:
    """A generation that is under way goes on as it was."""
    event = make_event()
    await client.start(event)
    with suppress(NotFoundError):  # it may have ended by now
        await client.redeliver(event["requestId"])
    assert (await client.result(event["requestId"], 20))["width"] == 1024


async def test_watch_ends_with_the_generation(address: str, client: AsyncDuragenClient) -> None:
    """Exit 0 and the image once it is completed."""
    event = make_event()
    await client.start(event)
    done = await duragen("watch", event["requestId"], TEMPORAL_ADDRESS=address)
    assert (done.code, f"generations/{event['requestId']}.png" in done.out) == (0, True)


async def test_watch_of_a_failure_is_1(address: str, client: AsyncDuragenClient) -> None:
    """Exit 1 with the code and the operator's detail."""
    event = make_event(prompt="MODEL_CONFIG")
    await client.start(event)
    done = await duragen("watch", event["requestId"], TEMPORAL_ADDRESS=address)
    assert (done.code, "MODEL_CONFIG: the service said no" in done.out) == (1, True)
