"""The whole stack, and an API user of its Odoo."""

import asyncio
from typing import Any, Self

import httpx

from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.stack.local_stack import LocalStack
from tests.ports import free_port

CREDITS = 5
RECEIVER_PORTS = [free_port() for _ in range(4)]
"""Where receivers of webhooks may listen: the stack's settings name them."""

PATIENCE_SECONDS = 200
PARAMETERS = {
    "prompt": "a lighthouse at dawn",
    "modelId": str(OPENAI_MODEL_ID),
    "resolution": "256x256",
}


class Developer:
    """Somebody with a key, who calls the gateway; and what the sandboxes say of him."""

    def __init__(self, stack: LocalStack, http: httpx.AsyncClient, user_id: str, key: str) -> None:
        self.stack = stack
        self.http = http
        self.user_id = user_id
        self.key = key

    @classmethod
    async def new(cls, stack: LocalStack, http: httpx.AsyncClient) -> Self:
        """With a new account."""
        made = (await http.post(f"{stack.odoo_url}/_sandbox/keys")).json()
        return cls(stack, http, made["userId"], made["key"])

    async def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One call below `/v1/generate`."""
        return await self._calls(method, f"/v1/generate{path}", **how)

    async def hooks(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One call below `/v1/webhooks`."""
        return await self._calls(method, f"/v1/webhooks{path}", **how)

    async def asks(self, changes: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """POST; underscores in the headers' names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", "", json={**PARAMETERS, **(changes or {})}, headers=named)

    async def status(self, job_id: str) -> dict[str, Any]:
        """The job."""
        found: dict[str, Any] = (await self.call("GET", f"/{job_id}/status")).json()
        return found

    async def becomes(self, job_id: str, *states: str) -> dict[str, Any]:
        """Wait until the job is in one of the states; the job."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (job := await self.status(job_id))["status"] not in states:
                await asyncio.sleep(0.05)
        return job

    async def _calls(self, method: str, path: str, **how: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}".strip().encode(), **how.pop("headers", {})}
        return await self.http.request(
            method, self.stack.gateway_url + path, headers=headers, **how
        )

    async def balance(self) -> int:
        """Credits that are left."""
        url = f"{self.stack.odoo_url}/_sandbox/users/{self.user_id}"
        balance: int = (await self.http.get(url)).json()["balance"]
        return balance

    async def job_ids(self) -> list[str]:
        """All of his jobs."""
        answer = await self.call("GET", "", params={"limit": 100})
        return [job["jobId"] for job in answer.json()["jobs"]]


async def break_odoo(stack: LocalStack, http: httpx.AsyncClient, **faults: Any) -> None:
    """What is wrong with Odoo's API from now on; nothing without faults."""
    url = f"{stack.odoo_url}/_sandbox/faults"
    (await http.put(url, json={"of": "api", "times": 0, **faults})).raise_for_status()


async def break_images(stack: LocalStack, http: httpx.AsyncClient, **faults: Any) -> None:
    """What is wrong with the image service."""
    (await http.put(f"{stack.images_url}/_sandbox/faults", json=faults)).raise_for_status()


async def limit(stack: LocalStack, http: httpx.AsyncClient, **limits: int) -> None:
    """What each API user may ask for; anything without limits."""
    (await http.put(f"{stack.odoo_url}/_sandbox/limits", json=limits)).raise_for_status()


async def hold(stack: LocalStack, http: httpx.AsyncClient, at: str | None) -> None:
    """From now on Odoo holds calls at this step; None: those that are held go on."""
    (await http.put(f"{stack.odoo_url}/_sandbox/hold", json={"at": at})).raise_for_status()
