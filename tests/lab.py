"""One generation on real parts: shared by the lifecycle's tests and the recorder of histories."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError

from contracts.events import GenerationRequested
from contracts.generation import GenerationState, GenerationView, Outcome
from contracts.names import (
    GENERATION_QUEUE,
    GENERATION_WORKFLOW,
    STATUS_QUERY,
    odoo_health_id,
    provider_health_id,
    workflow_id,
)
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.stack.config import CALLBACK_PATH, TWO_ROUTES_MODEL_ID
from deploy.local.stack.local_stack import LocalStack
from workers.clients import health_kept, open_clients, spool_uploaded
from workers.settings import Settings
from workers.wiring import build_workers

Handle = WorkflowHandle[Any, Outcome]

BILLABLE = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_MARKER_RECORDED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
}
"""Events that Temporal Cloud counts as actions. Retries and heartbeats count too, and leave no
event: a happy generation has neither."""


class Ledgers(NamedTuple):
    """What really happened to one request, by the sandboxes' records."""

    calls: list[dict[str, Any]]
    paid: int
    record: dict[str, Any] | None
    deliveries: list[dict[str, Any]]


class Lab:
    """A client of the server under test, and of the sandboxes beside it."""

    def __init__(self, stack: LocalStack, client: Client, http: httpx.AsyncClient) -> None:
        self.stack = stack
        self.client = client
        self.http = http

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: LocalStack, client: Client) -> AsyncIterator[Self]:
        """The lab with the sandboxes in good health, also afterwards, and closed circuits."""
        # A kept connection may be closed by the other side in the moment in which it is used again.
        # Nothing speaks TLS here: `verify=False` spares each test the reading of all certificates.
        fresh = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            trust_env=False, verify=False, timeout=60, limits=fresh
        ) as http:
            lab = cls(stack, client, http)
            await lab.forget_health()
            await lab.clear_faults()
            yield lab
            await lab.clear_faults()

    def request(self, **changes: Any) -> GenerationRequested:
        """A sound request for a small picture; fields as in Python."""
        fields: dict[str, Any] = {
            "request_id": uuid.uuid4(),
            "correlation_id": uuid.uuid4(),
            "user_id": uuid.uuid4(),
            "prompt": "a red fox in the snow",
            "model_id": OPENAI_MODEL_ID,
            "resolution": "256x256",
            "aspect_ratio": "1:1",
            "callback_url": self.stack.odoo_url + CALLBACK_PATH,
        }
        return GenerationRequested(**fields | changes)

    def flux_request(self, **changes: Any) -> GenerationRequested:
        """The same for FLUX."""
        return self.request(model_id=FLUX_MODEL_ID, **changes)

    def two_routes_request(self, **changes: Any) -> GenerationRequested:
        """The same for OpenAI, and FLUX when that cannot make the image."""
        return self.request(model_id=TWO_ROUTES_MODEL_ID, **changes)

    async def start(self, request: GenerationRequested) -> Handle:
        """Start the workflow as the entry points do, without their search attributes."""
        return await self.client.start_workflow(
            GENERATION_WORKFLOW,
            request,
            id=workflow_id(request.request_id),
            task_queue=GENERATION_QUEUE,
            result_type=Outcome,
        )

    async def outcome(self, request: GenerationRequested) -> Outcome:
        """Start it, and wait for its end."""
        async with asyncio.timeout(100):
            return await (await self.start(request)).result()

    async def view(self, handle: Handle) -> GenerationView:
        """What the query `status` answers."""
        return await handle.query(STATUS_QUERY, result_type=GenerationView)

    async def reaches(self, handle: Handle, state: GenerationState) -> GenerationView:
        """Ask until the generation is in `state`."""
        async with asyncio.timeout(100):
            while (view := await self.view(handle)).state is not state:
                await asyncio.sleep(0.05)
        return view

    async def break_images(self, *faults: dict[str, Any], always: Any = None) -> None:
        """What happens to the next calls of the image service; see sandbox/images/faults.py."""
        await self._put(self.stack.images_url, {"queue": list(faults), "always": always})

    async def break_odoo(self, **faults: Any) -> None:
        """What happens to the next deliveries; see deploy/local/sandbox/odoo/app.py."""
        await self._put(self.stack.odoo_url, faults)

    async def forget_health(self) -> None:
        """Forget what earlier tests did to providers and Odoo: it must change nothing."""
        for provider in ("openai", "flux"):
            with suppress(RPCError):  # nothing was ever reported
                health = self.client.get_workflow_handle(provider_health_id(provider))
                await health.terminate("the next test begins")
        with suppress(RPCError):
            odoo = self.client.get_workflow_handle(odoo_health_id(self.stack.odoo_url))
            await odoo.terminate("the next test begins")

    async def clear_faults(self) -> None:
        """No more faults."""
        await self.break_images()
        await self.break_odoo()

    async def ledgers(self, request: GenerationRequested) -> Ledgers:
        """Read the sandboxes' records."""
        where = {"correlation_id": str(request.correlation_id)}
        calls = await self.http.get(f"{self.stack.images_url}/_sandbox/calls", params=where)
        url = f"{self.stack.odoo_url}/_sandbox"
        record = await self.http.get(f"{url}/requests/{request.request_id}")
        mine = {"request_id": str(request.request_id)}
        deliveries = (await self.http.get(f"{url}/deliveries", params=mine)).json()
        return Ledgers(
            calls.json()["calls"],
            calls.json()["paid"],
            record.json() if record.status_code == 200 else None,
            [{**each, "event": json.loads(each["body"] or "null")} for each in deliveries],
        )

    async def _put(self, url: str, faults: dict[str, Any]) -> None:
        answer = await self.http.put(f"{url}/_sandbox/faults", json=faults)
        answer.raise_for_status()


@asynccontextmanager
async def working(client: Client, settings: Settings) -> AsyncIterator[None]:
    """A worker in this process, on all queues, until the block ends."""
    quick = settings.worker.model_copy(update={"graceful_seconds": 0.0})
    settings = settings.model_copy(update={"worker": quick})
    async with (
        open_clients(settings, traced=False) as clients,
        health_kept(client, clients),
        spool_uploaded(client, clients),
    ):
        workers = build_workers(client, settings, clients)
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))
            await asyncio.gather(*running)


def billable(history: WorkflowHistory) -> int:
    """How many actions Temporal Cloud would count for this history."""
    return sum(event.event_type in BILLABLE for event in history.events)


class CountingProxy:
    """A plain TCP relay that counts the requests it sees on the wire.

    While `answers` is cleared it holds back what the other side answers.
    """

    _LINE = re.compile(rb"(PUT|GET|HEAD|DELETE|POST) /(\S+) HTTP/1\.1\r\n")

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.requests: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.close()

    def puts(self, key: str) -> int:
        """PUTs of one object."""
        return sum(line == f"PUT {key}" for line in self.requests)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        await asyncio.gather(
            self._pump(reader, upstream_writer, count=True),
            self._pump(upstream_reader, writer, count=False),
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool
    ) -> None:
        tail = b""
        while data := await reader.read(65_536):
            if count:
                seen = tail + data
                found = list(self._LINE.finditer(seen))
                self.requests += [
                    f"{m[1].decode()} {m[2].decode().partition('?')[0]}" for m in found
                ]
                tail = seen[found[-1].end() :][-4_096:] if found else seen[-4_096:]
            else:
                await self.answers.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def flux_behind_a_relay(
    lab: Lab, settings: Settings
) -> AsyncIterator[tuple[CountingProxy, Settings]]:
    """Settings whose FLUX is reached through a relay that can hold its answers back."""
    images = urlsplit(lab.stack.images_url)
    async with CountingProxy(images.hostname or "", images.port or 0) as relay:
        flux = settings.providers["flux"].model_copy(update={"base_url": relay.url})
        providers = {**settings.providers, "flux": flux}
        yield relay, settings.model_copy(update={"providers": providers})
