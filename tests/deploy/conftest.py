"""The sandboxes as real processes, and clients for them."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from deploy.local.stack.local_stack import LocalStack

Json = dict[str, Any]


@pytest.fixture(scope="session")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """All of them, running for the whole session."""
    with LocalStack(
        tmp_path_factory.mktemp("sandboxes"), ("images", "odoo", "notifications")
    ) as stack:
        yield stack


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder of its own."""
    return tmp_path / "home"


@pytest.fixture
async def images(sandboxes: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the image service with both keys and a fresh correlation id; faults are reset."""
    headers = {
        "Authorization": f"Bearer {sandboxes.secrets.provider_keys['openai']}",
        "x-key": sandboxes.secrets.provider_keys["flux"],
        "X-Correlation-ID": str(uuid4()),
    }
    async with httpx.AsyncClient(
        base_url=sandboxes.images_url, headers=headers, trust_env=False
    ) as client:
        yield client
        await client.put("/_sandbox/faults", json={})


@pytest.fixture
async def odoo(sandboxes: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the sandbox Odoo with the right token; faults are reset."""
    headers = {"Authorization": f"Bearer {sandboxes.secrets.odoo_token}"}
    async with httpx.AsyncClient(
        base_url=sandboxes.odoo_url, headers=headers, trust_env=False
    ) as client:
        yield client
        await client.put("/_sandbox/faults", json={})


@pytest.fixture
def break_images(images: httpx.AsyncClient) -> Callable[..., Any]:
    """Faults for the next calls; a test awaits it with the queue, as in `{"kind": "hang"}`."""

    async def set_faults(*queue: Json, **more: Any) -> None:
        answer = await images.put("/_sandbox/faults", json={"queue": list(queue), **more})
        assert answer.status_code == 200, answer.text

    return set_faults


@pytest.fixture
def calls(images: httpx.AsyncClient) -> Callable[[], Any]:
    """What the image service recorded under this test's correlation id."""

    async def fetch() -> Json:
        wanted = {"correlation_id": images.headers["X-Correlation-ID"]}
        found: Json = (await images.get("/_sandbox/calls", params=wanted)).json()
        return found

    return fetch


@pytest.fixture
def sign(sandboxes: LocalStack) -> Callable[[str], dict[str, str]]:
    """The Standard Webhooks headers of a body, as a sender makes them."""
    webhook = Webhook(sandboxes.secrets.odoo_signing_secret)

    def headers(body: str) -> dict[str, str]:
        message, now = f"msg_{uuid4().hex}", datetime.now(UTC)
        return {
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": webhook.sign(message, now, body),
            "content-type": "application/json",
        }

    return headers


@pytest.fixture
def completed() -> Json:
    """EVT-AIG-002 of a fresh request."""
    return {
        "requestId": str(uuid4()),
        "correlationId": str(uuid4()),
        "status": "completed",
        "imageUrl": "http://127.0.0.1/image.png",
        "imageMetadata": {"format": "png", "size": 1_000, "width": 64, "height": 64},
        "hashValue": "ab" * 32,
    }


@pytest.fixture
def failed(completed: Json) -> Json:
    """EVT-AIG-003 of the same request as `completed`."""
    return {
        "requestId": completed["requestId"],
        "correlationId": completed["correlationId"],
        "status": "failed",
        "errorMessage": "503 from the image service",
        "errorCode": "PROVIDER_UNAVAILABLE",
        "userMessage": "The image service is busy.",
    }


@pytest.fixture
def requested(completed: Json) -> Json:
    """EVT-AIG-001 of the same request as `completed`."""
    return {
        "requestId": completed["requestId"],
        "correlationId": completed["correlationId"],
        "userId": str(uuid4()),
        "prompt": "a <b>fox</b> & friends",
        "modelId": str(uuid4()),
        "resolution": "64x64",
        "aspectRatio": "1:1",
        "callbackUrl": "http://127.0.0.1/callback",
    }
