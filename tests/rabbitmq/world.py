"""A whole stack with RabbitMQ, and what tests do with it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import httpx
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from temporalio.client import Client

from contracts.broker import EXCHANGE, JOB_REQUESTED
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.stack.config import CALLBACK_PATH, keep_secrets
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import Ports
from tests.ports import free_port
from tests.rabbitmq.broker import Broker
from tests.rabbitmq.server import RabbitServer

LISTENING = "http://odoo-behind-the-broker.example.com"
"""An Odoo that nobody could call."""


class World(NamedTuple):
    """The stack, and names at the broker as the settings have them."""

    stack: LocalStack
    broker: Broker
    temporal: Client
    http: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def opened(cls, server: RabbitServer, home: Path) -> AsyncIterator[Self]:
        """With one Odoo that is called, and one that listens at the broker alone."""
        port, secret = free_port(), keep_secrets(home / "secrets.json")
        keys = {"token": secret.odoo_token, "signing_secret": secret.odoo_signing_secret}
        listening = {"delivery": "rabbitmq", "signing_secret": keys["signing_secret"]}
        odoos = [{"origin": f"http://127.0.0.1:{port}", **keys}, {"origin": LISTENING, **listening}]
        source = {"cloudevents_source": "https://duragen.example.com"}
        stack = LocalStack(
            home,
            rabbitmq_url=server.url,
            ports=Ports(odoo=port),
            overrides={"odoo": odoos, "rabbitmq": source},
        )
        await asyncio.to_thread(stack.start)
        try:
            async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
                temporal = await Client.connect(stack.temporal_address)
                yield cls(stack, Broker(server, "ai-generation"), temporal, http)
        finally:
            await asyncio.to_thread(stack.stop)

    @property
    def key(self) -> dict[str, str]:
        """What the gateway wants to see."""
        return {"Authorization": f"Bearer {self.stack.secrets.api_key}"}

    def event(self, **changes: Any) -> dict[str, Any]:
        """A request that the stack carries out."""
        ids = {name: str(uuid4()) for name in ("requestId", "correlationId", "userId")}
        rest = {"prompt": "a lighthouse", "resolution": "128x128", "aspectRatio": "1:1"}
        where = {"callbackUrl": self.stack.odoo_url + CALLBACK_PATH}
        return {**ids, **rest, **where, "modelId": str(OPENAI_MODEL_ID), **changes}

    async def reserve(self, event: dict[str, Any]) -> None:
        """As the sandbox Odoo has it before it asks."""
        answer = await self.http.post(f"{self.stack.odoo_url}/_sandbox/requests", json=event)
        assert answer.status_code == 201

    async def publish(self, event: dict[str, Any]) -> None:
        """A request by the broker, confirmed by it."""
        async with self.broker.channel() as channel:
            exchange = await channel.get_exchange(EXCHANGE, ensure=False)
            message = Message(
                json.dumps(event).encode(),
                message_id=event["requestId"],
                delivery_mode=DeliveryMode.PERSISTENT,
            )
            await exchange.publish(message, JOB_REQUESTED)

    @asynccontextmanager
    async def hearing(self, *keys: str) -> AsyncIterator[AbstractQueue]:
        """A queue of somebody else's, bound to these keys."""
        async with self.broker.channel() as channel:
            queue = await channel.declare_queue(exclusive=True)
            for key in keys:
                await queue.bind(EXCHANGE, key)
            yield queue

    async def state_of(self, event: dict[str, Any], *wanted: str) -> str:
        """The generation's state, once it is one of these."""
        url = f"{self.stack.gateway_url}/v1/generations/{event['requestId']}"
        async with asyncio.timeout(200):
            while True:
                answer = await self.http.get(url, headers=self.key)
                if answer.status_code == 200 and (state := answer.json()["state"]) in wanted:
                    return str(state)
                await asyncio.sleep(0.1)


def body(message: AbstractIncomingMessage) -> dict[str, Any]:
    """What a message says."""
    found: dict[str, Any] = json.loads(message.body)
    return found
