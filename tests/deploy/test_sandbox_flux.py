"""The sandbox as FLUX."""

import asyncio
import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from deploy.local.stack.local_stack import LocalStack

URL = "/v1/flux-2-pro"
BODY = {"prompt": "a fox", "width": 128, "height": 64, "seed": 5}


async def _submit(images: httpx.AsyncClient, **change: Any) -> Any:
    answer = await images.post(URL, json=BODY | change)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _poll(images: httpx.AsyncClient, task: Any) -> Any:
    return (await images.get(task["polling_url"])).json()


async def test_submit_poll_fetch(images: httpx.AsyncClient) -> None:
    """A task becomes Ready, and its sample can be fetched without a key."""
    result = (await _poll(images, await _submit(images)))["result"]
    assert (result["seed"], result["prompt"]) == (5, "a fox")
    async with httpx.AsyncClient(trust_env=False) as stranger:
        sample = await stranger.get(result["sample"])
    assert sample.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(sample.content)).size == (128, 64)


async def test_pending_with_progress(
    images: httpx.AsyncClient, break_images: Callable[..., Any]
) -> None:
    """Before its time a task is Pending, and says how far it is."""
    await break_images(latency_seconds=60)
    answer = await _poll(images, await _submit(images))
    assert (answer["status"], answer["result"]) == ("Pending", None)
    assert 0 <= answer["progress"] < 1


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        ("forbidden", "Request Moderated"),
        ("indecent", "Content Moderated"),
        ("sandbox:error", "Error"),
        ("sandbox:job_lost", "Task not found"),
    ],
)
async def test_bad_ends(images: httpx.AsyncClient, prompt: str, status: str) -> None:
    """Words in the prompt end a task in each of FLUX's other states."""
    task = await _submit(images, prompt=prompt)
    assert (await _poll(images, task))["status"] == status


async def test_unknown_task(images: httpx.AsyncClient) -> None:
    """An id that the service never gave out is not found."""
    assert (await images.get("/v1/get_result?id=nothing")).json()["status"] == "Task not found"


async def test_expired_sample(images: httpx.AsyncClient) -> None:
    """An expired sample answers 403."""
    task = await _submit(images, prompt="sandbox:sample_expired")
    result = (await _poll(images, task))["result"]
    assert (await images.get(result["sample"])).status_code == 403


@pytest.mark.parametrize("path", [URL, "/v1/get_result?id=1", "/v1/credits"])
async def test_wrong_key(images: httpx.AsyncClient, path: str) -> None:
    """Everything but a sample needs the key."""
    method = "POST" if path == URL else "GET"
    answer = await images.request(method, path, json=BODY, headers={"x-key": "wrong"})
    assert answer.status_code == 403


async def test_credits(images: httpx.AsyncClient) -> None:
    """The account's credits are a cheap way to check a key."""
    assert (await images.get("/v1/credits")).json()["credits"] > 0


async def test_wrong_body(images: httpx.AsyncClient) -> None:
    """A wrong body is a 422 that names the field."""
    answer = await images.post(URL, json=BODY | {"width": 3})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["width"]


async def test_unknown_model(images: httpx.AsyncClient) -> None:
    """What is not a FLUX model is a 404."""
    assert (await images.post("/v1/other-model", json=BODY)).status_code == 404


async def test_call_log(images: httpx.AsyncClient, calls: Callable[[], Any]) -> None:
    """One submission is paid for, however often it is polled."""
    task = await _submit(images)
    await asyncio.gather(*(_poll(images, task) for _ in range(3)))
    log = await calls()
    assert log["paid"] == 1
    assert [call["operation"] for call in log["calls"]] == ["submit", "poll", "poll", "poll"]
    assert log["calls"][0]["job_id"] == task["id"]


async def test_job_survives_kill(images: httpx.AsyncClient, sandboxes: LocalStack) -> None:
    """After `kill -9` of the service its job is still there, and was still paid for once."""
    task = await _submit(images)
    service = sandboxes.supervisor("images")
    service.kill()
    await asyncio.to_thread(service.wait_ready, 30)
    assert (await _poll(images, task))["status"] == "Ready"
