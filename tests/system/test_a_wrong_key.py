"""A wrong key on the first route, from the page to its end, on a stack of real processes."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient
from tests.lab import TWO_ROUTES_MODEL_ID

PARTS = ("temporal", "store", "images", "odoo", "worker")
PATIENCE_SECONDS = 100
"""Past the 30 s between two probes of a provider that is down."""

WRONG_KEY = {"providers": {"openai": {"api_key": "sk-of-somebody-else"}}}
RIGHT_KEY: dict[str, Any] = {}


async def test_a_wrong_key_is_paged_and_fixed(
    tmp_path: Path, alertmanager: str, http: httpx.AsyncClient
) -> None:
    """The second route makes the image, the alert stands, doctor names the key; fixed: resolved.

    Nothing but time passes between the fixing and the alert's end: a probe finds the key good.
    """
    async with _stack(tmp_path, alertmanager, WRONG_KEY) as stack:
        image = await _generate(stack)
        assert image["width"] == 256
        [alert] = await _until(http, alertmanager, bool)
        assert alert["labels"]["alertname"] == "DuragenProviderDown"
        assert alert["labels"]["service"] == "openai"
        assert alert["labels"]["errorType"] == "AUTH_CONFIG"
        assert alert["labels"]["severity"] == "critical"
        assert "providers.openai.api_key" in alert["annotations"]["description"]
        assert "sk-of-somebody-else" not in str(alert)
        said = await _doctor(stack)
        assert "set a valid key: providers.openai.api_key" in said
        assert "sk-of-somebody-else" not in said
    async with _stack(tmp_path, alertmanager, RIGHT_KEY) as stack:
        assert await _until(http, alertmanager, lambda alerts: not alerts) == []
        assert (await _generate(stack))["width"] == 256


@asynccontextmanager
async def _stack(
    home: Path, alertmanager: str, overrides: dict[str, Any]
) -> AsyncIterator[LocalStack]:
    """The same home each time: what Temporal knows outlives the processes."""
    stack = LocalStack(home / "stack", PARTS, overrides=overrides, alertmanager_url=alertmanager)
    await asyncio.to_thread(stack.start)
    try:
        yield stack
    finally:
        await asyncio.to_thread(stack.stop)


async def _generate(stack: LocalStack) -> dict[str, Any]:
    client = AsyncDuragenClient(stack.temporal_address)
    started = await client.start(
        {
            "requestId": str(uuid.uuid4()),
            "correlationId": str(uuid.uuid4()),
            "userId": str(uuid.uuid4()),
            "prompt": "a red fox in the snow",
            "modelId": str(TWO_ROUTES_MODEL_ID),
            "resolution": "256x256",
            "aspectRatio": "1:1",
            "callbackUrl": stack.odoo_url + CALLBACK_PATH,
        }
    )
    return await client.result(started.request_id, timeout=60)


async def _until(
    http: httpx.AsyncClient, alertmanager: str, wanted: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    """Ask Alertmanager until what stands there is as wanted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            alerts: list[dict[str, Any]] = (await http.get(f"{alertmanager}/api/v2/alerts")).json()
            if wanted(alerts):
                return alerts
            await asyncio.sleep(0.2)


async def _doctor(stack: LocalStack) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.cli", "doctor"),
        env=environment_of_part(stack.environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()
