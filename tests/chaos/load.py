"""The load of a row: requests reserved at Odoo, then started at a bounded rate by several clients.

A start that meets a closed port is sent again until it is accepted, as Odoo's outbox does.
"""

import asyncio
import random
import time
import uuid
from collections import Counter
from typing import Any
from uuid import UUID

import httpx

from deploy.local.stack.config import CALLBACK_PATH, TWO_ROUTES_MODEL_ID
from deploy.local.stack.local_stack import LocalStack
from starter.client import AsyncDuragenClient, UnavailableError
from tests.chaos.evidence import Asked

USERS = 10
PATIENCE_SECONDS = 120.0
"""How long a port may be closed before the row is given up."""

_GATEWAY_EACH = 4
"""Each fourth start goes through the gateway, the others straight to Temporal."""


class Load:
    """So many requests; `copies` starts of each are sent at the same time by different clients."""

    def __init__(  # what a row asks for, each by its name
        self,
        stack: LocalStack,
        total: int,
        rate: float,
        copies: int,
        seed: int,
        models: tuple[UUID, ...],
        relayed: tuple[str, float] | None = None,
    ) -> None:
        self._stack = stack
        self._relayed = relayed
        self.direct: set[str] = set()
        """Request ids whose outcome does not go through the second Odoo."""
        self._models = models
        self._rate = rate
        self.total = total
        self.copies = copies
        self._dice = random.Random(seed)
        self._users = [str(uuid.uuid4()) for _ in range(USERS)]
        self._events = [self._event(number) for number in range(total)]
        self._clients = [
            AsyncDuragenClient(stack.temporal_address, "default") for _ in range(max(2, copies))
        ]
        self._created: Counter[str] = Counter()
        self._began: dict[str, float] = {}
        self.accepted: dict[str, Asked] = {}
        self.share = 0.0
        """How much of it has been sent."""

    @property
    def users(self) -> list[str]:
        """Those whose credits are spent."""
        return self._users

    async def reserve(self, http: httpx.AsyncClient) -> None:
        """Make every request in Odoo, which reserves its credit."""
        url = f"{self._stack.odoo_url}/_sandbox/requests"
        for event in self._events:
            answer = await http.post(url, json=event)
            if answer.status_code != 201:
                raise RuntimeError(f"Odoo answered {answer.status_code}: {answer.text}")

    async def run(self, http: httpx.AsyncClient) -> None:
        """Start them all; returns when each has been accepted."""
        began = time.monotonic()
        starting = []
        for number, event in enumerate(self._events):
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            starting += [
                asyncio.create_task(self._start(http, number + copy, event))
                for copy in range(self.copies)
            ]
            self.share = (number + 1) / len(self._events)
        await asyncio.gather(*starting)

    async def _start(self, http: httpx.AsyncClient, lane: int, event: dict[str, Any]) -> None:
        request_id = event["requestId"]
        began = self._began.setdefault(request_id, time.time())
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if lane % _GATEWAY_EACH == 0:
                    created = await self._by_gateway(http, event)
                else:
                    created = (await self._clients[lane % len(self._clients)].start(event)).created
                break
            except (UnavailableError, httpx.TransportError):
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(self._dice.uniform(0.5, 1.5))
        self._created[request_id] += created
        self.accepted[request_id] = Asked(
            request_id,
            event["correlationId"],
            event["userId"],
            event["modelId"] == str(TWO_ROUTES_MODEL_ID),
            began,
            self._created[request_id],
        )

    async def _by_gateway(self, http: httpx.AsyncClient, event: dict[str, Any]) -> bool:
        answer = await http.post(
            f"{self._stack.gateway_url}/v1/generations",
            json=event,
            headers={"Authorization": f"Bearer {self._stack.secrets.api_key}"},
        )
        if answer.status_code in {429, 502, 503, 504}:
            raise UnavailableError(f"the gateway answered {answer.status_code}")
        if answer.status_code not in {200, 202}:
            raise RuntimeError(f"the gateway answered {answer.status_code}: {answer.text}")
        return bool(answer.json()["created"])

    def _event(self, number: int) -> dict[str, Any]:
        request_id, odoo = str(uuid.uuid4()), self._stack.odoo_url
        url, share = self._relayed or (odoo, 0)
        if number * share % 1 + share >= 1:
            odoo = url
        else:
            self.direct.add(request_id)
        return {
            "requestId": request_id,
            "correlationId": str(uuid.uuid4()),
            "userId": self._users[number % USERS],
            "prompt": f"a red fox in the snow, number {number}",
            "modelId": str(self._models[number % len(self._models)]),
            "resolution": "128x128",
            "aspectRatio": "1:1",
            "callbackUrl": odoo + CALLBACK_PATH,
        }
