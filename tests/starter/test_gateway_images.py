"""The address of an image that outlives every link: whoever may ask is led to a fresh one."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from temporalio.testing import WorkflowEnvironment

from contracts.names import erased_key, image_key
from deploy.local.stack.config import BUCKET
from peers.store import s3_client
from starter.client import AsyncDuragenClient
from tests.ports import free_port
from tests.starter.entry_points import (
    KEY,
    gateway_key,
    make_event,
    serving,
)
from workers.settings import Settings

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
OWNED = "key-of-acme"


@pytest.fixture(scope="module")
async def url(server: WorkflowEnvironment, settings: Settings) -> AsyncIterator[str]:
    """A gateway that has the store's settings."""
    keys = (gateway_key("odoo", KEY, owner=""), gateway_key("acme", OWNED, callbacks=(CALLBACK,)))
    address = server.client.service_client.config.target_host
    async with serving(address, keys=keys, storage=settings.storage) as found:
        yield found


CALLBACK = "http://odoo.example.com/api/v1/influencegen/ai-image-callback"


async def image(url: str, request_id: str, key: str = KEY) -> httpx.Response:
    """What the address answers; it is not followed."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as caller:
        return await caller.get(f"{url}/v1/generations/{request_id}/image")


async def stored(settings: Settings, request_id: str, *, owner: str = "") -> None:
    """Its image is in the store."""
    key = image_key(UUID(request_id), "png", owner)
    put = s3_client(settings.storage).put_object
    await asyncio.to_thread(put, Bucket=BUCKET, Key=key, Body=PICTURE)


@pytest.mark.usefixtures("worker")
async def test_it_leads_to_the_image(
    url: str, client: AsyncDuragenClient, settings: Settings
) -> None:
    """307 to a link that anybody may follow for a while; nobody keeps the answer."""
    event = make_event()
    await stored(settings, event["requestId"])
    await client.start(event)
    await client.result(event["requestId"], 100)
    answer = await image(url, event["requestId"])
    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    async with httpx.AsyncClient(trust_env=False) as anybody:
        assert (await anybody.get(answer.headers["location"])).content == PICTURE


async def test_it_outlives_temporals_memory(url: str, settings: Settings) -> None:
    """Of a generation that Temporal has forgotten the store has the image all the same."""
    request_id = str(uuid4())
    await stored(settings, request_id)
    answer = await image(url, request_id)
    assert answer.status_code == 307
    assert f"/generations/{request_id}.png?" in answer.headers["location"]


async def test_what_was_erased_is_not_there(url: str, settings: Settings) -> None:
    """An image that came while it was erased is led to by nobody."""
    request_id = str(uuid4())
    await stored(settings, request_id)
    mark = erased_key(UUID(request_id))
    put = s3_client(settings.storage).put_object
    await asyncio.to_thread(put, Bucket=BUCKET, Key=mark, Body=b"")
    assert (await image(url, request_id)).status_code == 404


async def test_each_owner_has_its_own(url: str, settings: Settings) -> None:
    """Neither the operators' nor another owner's image is under the caller's id."""
    mine, theirs = str(uuid4()), str(uuid4())
    await stored(settings, mine, owner="acme")
    await stored(settings, theirs)
    found = {
        (key, request_id): (await image(url, request_id, key)).status_code
        for key in (KEY, OWNED)
        for request_id in (mine, theirs)
    }
    assert found == {(KEY, mine): 404, (KEY, theirs): 307, (OWNED, mine): 307, (OWNED, theirs): 404}


@pytest.mark.usefixtures("worker")
async def test_without_an_image_it_says_so(url: str, client: AsyncDuragenClient) -> None:
    """404 `no_image`, with the state."""
    event = make_event(prompt="POLICY_INPUT")
    await client.start(event)
    async with asyncio.timeout(100):
        while (await client.status(event["requestId"]))["state"] != "failed":
            await asyncio.sleep(0.02)
    answer = await image(url, event["requestId"])
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["type"]) == (404, "urn:duragen:problem:no_image")
    assert problem["detail"] == "the generation is failed, without an image"


async def test_a_store_that_is_away_is_asked_again(
    server: WorkflowEnvironment, settings: Settings
) -> None:
    """503 in time, without the store's address; neither the request nor the gateway hangs."""
    away = settings.storage.model_copy(
        update={"endpoint_url": f"http://127.0.0.1:{free_port()}", "public_endpoint_url": None}
    )
    address = server.client.service_client.config.target_host
    async with serving(address, storage=away) as found:
        answer = await image(found, str(uuid4()))
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the image store does not answer; ask again"


@pytest.mark.usefixtures("worker")
async def test_a_gateway_without_a_store_says_so(gateway: str, client: AsyncDuragenClient) -> None:
    """503: its settings have no `[storage]`."""
    event = make_event()
    await client.start(event)
    await client.result(event["requestId"], 100)
    answer = await image(gateway, event["requestId"])
    assert (answer.status_code, "no [storage]" in answer.json()["detail"]) == (503, True)
