"""A gateway that others wrote, LiteLLM, between the worker and the sandbox's image service."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import PortRegistry
from starter.client import AsyncDuragenClient, GenerationFailedError
from tests.system.running import running

LITELLM = Path(__file__).parents[2] / "build/litellm/bin/litellm"
PARTS = ("temporal", "store", "images", "odoo", "worker")
MODEL = "gpt-image-2.5-flare"
KEY, WRONG_KEY = "sk-of-the-gateway-0123456789", "sk-of-somebody-else-0123"
MISSPELLED_ID, WRONG_KEY_ID = uuid4(), uuid4()
REPEATS = 3
"""What LiteLLM 1.108.7 makes of an image call whose replies are lost, whatever is set."""
PATIENCE_SECONDS = 100

CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: {images}/v1, api_key: os.environ/IMAGES_KEY}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {key}}}
"""


async def test_behind_litellm(tmp_path: Path, http: httpx.AsyncClient) -> None:
    """The image comes; each fault has its owner; the doctor names the misspelled model."""
    registry = PortRegistry(tmp_path / "ports.json")
    gateway = f"http://127.0.0.1:{registry.pick('litellm')}"
    stack = LocalStack(tmp_path / "stack", PARTS, overrides=_settings(gateway))
    await asyncio.to_thread(stack.start)
    try:
        async with _litellm(tmp_path, gateway, stack, http):
            assert await _ended(stack, OPENAI_MODEL_ID, "a red fox") == "completed"
            assert await _ended(stack, MISSPELLED_ID, "a red fox") == "MODEL_CONFIG"
            assert await _ended(stack, WRONG_KEY_ID, "a red fox") == "AUTH_CONFIG"
            assert await _ended(stack, OPENAI_MODEL_ID, "something forbidden") == "REFUSED"
            said = await asyncio.to_thread(_doctor, stack)
            paid = await _paid(http, stack)
            always = {"always": {"kind": "accept_then_reset"}}
            put = await http.put(f"{stack.images_url}/_sandbox/faults", json=always)
            put.raise_for_status()
            assert await _ended(stack, OPENAI_MODEL_ID, "a lost fox") == "PROVIDER_UNAVAILABLE"
            lost = await _paid(http, stack) - paid
    finally:
        await asyncio.to_thread(stack.stop)
    assert paid == 1
    assert lost == 2 * REPEATS  # two calls of ours, each of which the gateway repeats by itself
    assert "does not list the model gpt-imge-2" in said
    assert "set a valid key: providers.spare.api_key" in said


def _settings(gateway: str) -> dict[str, Any]:
    """The stack's OpenAI model behind the gateway, and two models with a fault of ours."""
    spare = {"kind": "openai", "base_url": gateway, "api_key": WRONG_KEY}
    return {
        "providers": {
            "openai": {"base_url": gateway, "api_key": KEY},
            "misspelled": spare | {"api_key": KEY},
            "spare": spare,
        },
        "models": {
            str(MISSPELLED_ID): {"routes": [{"provider": "misspelled", "model": "gpt-imge-2"}]},
            str(WRONG_KEY_ID): {"routes": [{"provider": "spare", "model": MODEL}]},
        },
    }


@asynccontextmanager
async def _litellm(
    home: Path, gateway: str, stack: LocalStack, http: httpx.AsyncClient
) -> AsyncIterator[None]:
    if not LITELLM.exists():
        pytest.fail("LiteLLM is missing: `make test-system` installs it", pytrace=False)
    config, log = home / "litellm.yaml", home / "litellm.log"
    config.write_text(CONFIG.format(model=MODEL, images=stack.images_url, key=KEY))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "IMAGES_KEY": stack.secrets.provider_keys["openai"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched
        "LITELLM_TELEMETRY": "False",
    }
    port = gateway.rpartition(":")[2]
    options = ("--config", str(config), "--host", "127.0.0.1", "--port", port)
    ready = f"{gateway}/health/liveliness"
    async with running(http, log, ready, LITELLM, *options, env=environment):
        yield


async def _paid(http: httpx.AsyncClient, stack: LocalStack) -> int:
    """How many calls the image service has charged for."""
    return int((await http.get(f"{stack.images_url}/_sandbox/calls")).json()["paid"])


async def _ended(stack: LocalStack, model_id: UUID, prompt: str) -> str:
    """How a generation ended: `completed`, or its error code."""
    client = AsyncDuragenClient(stack.temporal_address)
    started = await client.start(
        {
            "requestId": str(uuid4()),
            "correlationId": str(uuid4()),
            "userId": str(uuid4()),
            "prompt": prompt,
            "modelId": str(model_id),
            "resolution": "256x256",
            "aspectRatio": "1:1",
            "callbackUrl": stack.odoo_url + CALLBACK_PATH,
        }
    )
    try:
        await client.result(started.request_id, timeout=PATIENCE_SECONDS)
    except GenerationFailedError as error:
        return str(error.code)
    return "completed"


def _doctor(stack: LocalStack) -> str:
    """What `duragen doctor` says; it ends with 1 when something is wrong."""
    ran = subprocess.run(
        [sys.executable, "-m", "starter.cli", "doctor"],
        env=environment_of_part(stack.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stdout
