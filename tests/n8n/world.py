"""A real N8N with the workflows of `deploy/n8n`, and a stack beside it."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import httpx

from deploy.local.n8n.install import installed
from deploy.local.n8n.server import N8nServer
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.stack.config import CALLBACK_PATH, keep_secrets
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import Ports
from tests.ports import free_port

SHIPPED = Path(__file__).parents[2] / "deploy/n8n"
WORKFLOWS = ("start-generation", "receive-outcome")
START, OUTCOME = "/webhook/aig-001", "/webhook/duragen-outcome"
CALLERS_KEY = secrets.token_urlsafe()
SIGNING_TEXT = secrets.token_urlsafe()
"""What N8N signs with: a text, whose bytes are the key."""
SIGNING_SECRET = "whsec_" + base64.b64encode(SIGNING_TEXT.encode()).decode()
PATIENCE_SECONDS = 200


class World(NamedTuple):
    """Both, and a caller of N8N's webhook."""

    n8n: N8nServer
    stack: LocalStack
    caller: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def opened(cls, home: Path) -> AsyncIterator[Self]:
        """With one Odoo that is called by Duragen, and N8N as another."""
        n8n = N8nServer(installed(), home / "n8n", ready)
        port, known = free_port(), keep_secrets(home / "secrets.json")
        odoo = {"token": known.odoo_token, "signing_secret": known.odoo_signing_secret}
        odoos = [
            {"origin": f"http://127.0.0.1:{port}", **odoo},
            {"origin": n8n.url, "signing_secret": SIGNING_SECRET, "callback_paths": [OUTCOME]},
        ]
        stack = LocalStack(
            home,
            ports=Ports(odoo=port),
            options=SandboxOptions(latency_seconds=0.5),
            overrides={"odoo": odoos},
        )
        await asyncio.to_thread(stack.start)
        try:
            await asyncio.to_thread(n8n.load, _credentials(stack), _workflows(stack))
            await asyncio.to_thread(n8n.start)
            key = {"Authorization": f"Bearer {CALLERS_KEY}"}
            async with httpx.AsyncClient(
                base_url=n8n.url, headers=key, timeout=100, trust_env=False
            ) as caller:
                yield cls(n8n, stack, caller)
        finally:
            await asyncio.to_thread(n8n.stop)
            await asyncio.to_thread(stack.stop)

    def event(self, **changes: Any) -> dict[str, Any]:
        """EVT-AIG-001, whose outcome goes to Odoo."""
        ids = {name: str(uuid4()) for name in ("requestId", "correlationId", "userId")}
        rest = {"prompt": "a lighthouse", "resolution": "128x128", "aspectRatio": "1:1"}
        where = {"callbackUrl": self.stack.odoo_url + CALLBACK_PATH}
        return {**ids, **rest, **where, "modelId": str(OPENAI_MODEL_ID), **changes}

    async def generation(self, event: dict[str, Any]) -> dict[str, Any]:
        """What Duragen says of it."""
        url = f"{self.stack.gateway_url}/v1/generations/{event['requestId']}"
        key = {"Authorization": f"Bearer {self.stack.secrets.api_key}"}
        found: dict[str, Any] = (await self._ask(url, headers=key)).json()
        return found

    async def becomes(self, event: dict[str, Any], state: str) -> None:
        """Wait until Duragen says so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.generation(event)).get("state") != state:
                await asyncio.sleep(0.1)

    async def paid(self, event: dict[str, Any]) -> int:
        """How many calls the image service was paid for."""
        params = {"correlation_id": event["correlationId"]}
        answer = await self._ask(f"{self.stack.images_url}/_sandbox/calls", params=params)
        paid: int = answer.json()["paid"]
        return paid

    async def informed(self) -> list[str]:
        """The requests whose outcome Odoo has."""
        return await delivered(self.stack)

    async def _ask(self, url: str, **how: Any) -> httpx.Response:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            return await client.get(url, **how)


async def delivered(stack: LocalStack) -> list[str]:
    """The requests whose outcome was delivered to the stack's Odoo, each time that it was."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        answer = await client.get(f"{stack.odoo_url}/_sandbox/deliveries")
    return [json.loads(each["body"])["requestId"] for each in answer.json()]


def ready(url: str) -> None:
    """Both webhooks are there, and know that we have no key."""
    for path, refusal in ((START, httpx.codes.FORBIDDEN), (OUTCOME, httpx.codes.UNAUTHORIZED)):
        answer = httpx.post(url + path, json={}, timeout=10, trust_env=False)
        if answer.status_code != refusal:
            raise ConnectionError(f"{path} answers {answer.status_code}: {answer.text[:200]}")


async def until(so: Callable[[], Any]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not so():
            await asyncio.sleep(0.05)


def _workflows(stack: LocalStack) -> list[dict[str, Any]]:
    texts = [(SHIPPED / f"{name}.json").read_text() for name in WORKFLOWS]
    return [
        json.loads(text.replace("https://duragen.example.com", stack.gateway_url)) for text in texts
    ]


def _credentials(stack: LocalStack) -> list[dict[str, Any]]:
    text = (SHIPPED / "credentials.json").read_text()
    for placeholder, value in {
        "KEY_OF_CALLERS": CALLERS_KEY,
        "KEY_OF_THE_GATEWAY": stack.secrets.api_key,
        "TEXT_OF_THE_SIGNING_SECRET": SIGNING_TEXT,
    }.items():
        assert text.count(placeholder) == 1
        text = text.replace(placeholder, value)
    found: list[dict[str, Any]] = json.loads(text)
    return found
