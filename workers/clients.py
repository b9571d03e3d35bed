"""The only place that builds the clients of a worker's process."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

import httpx
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from temporalio.client import Client

from activities.keeping import ImageKeeper
from activities.memory import ImageMemory
from activities.odoo.gate import OdooGates
from activities.outcome_messages import OutcomeMessages
from activities.provider_health import CircuitBoard, ProviderReports
from activities.spool import Spool
from activities.spool_uploads import SpoolUploads
from activities.storage import ImageStore
from peers.clients import named_client, public_client
from peers.rabbitmq_publisher import Publisher
from peers.store import STORE_THREADS
from workers.settings import Settings
from workers.store_wiring import IMAGE_THREADS, bucket_of


class Clients(NamedTuple):
    """What the activities share in one process."""

    http: httpx.AsyncClient
    """For what the settings name."""
    public: httpx.AsyncClient
    """For links from outside."""
    odoo_http: httpx.AsyncClient
    """For Odoos: where there is a client certificate, it is shown to them alone."""
    store: ImageStore
    images: ImageKeeper
    spool: Spool
    threads: ThreadPoolExecutor
    """The store's own: nothing else waits in them."""
    memory: ImageMemory
    reports: ProviderReports
    board: CircuitBoard
    gates: OdooGates
    messages: OutcomeMessages | None
    """To the broker, where there is one."""
    closing: AsyncExitStack
    """Closes what one provider alone has opened."""


@asynccontextmanager
async def open_clients(settings: Settings, *, traced: bool) -> AsyncIterator[Clients]:
    """Everything that holds sockets and threads, closed at the end."""
    with (
        ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="store") as threads,
        ThreadPoolExecutor(IMAGE_THREADS, thread_name_prefix="images") as here,
    ):
        process = settings.worker
        spool = Spool(process.spool_dir, process.spool_bytes, here)
        proxied = process.use_proxies
        with_own = partial(
            named_client, settings.ca_files, own=settings.own_headers, use_proxies=proxied
        )
        async with (
            with_own() as http,
            with_own(certificate=process.client_certificate) as odoo_http,
            public_client(use_proxies=proxied) as public,
        ):
            if traced:
                for each in (http, odoo_http, public):
                    HTTPXClientInstrumentor.instrument_client(each)
                BotocoreInstrumentor().instrument()  # type: ignore[no-untyped-call]  # it has no types
            store = ImageStore(bucket_of(settings.storage, use_proxies=proxied), threads, here)
            memory = ImageMemory(process.images_in_memory)
            board = CircuitBoard(_with_alternatives(settings))
            gates = OdooGates(odoo.origin for odoo in settings.odoo)
            reports = ProviderReports()
            async with AsyncExitStack() as closing:
                messages = None
                if settings.rabbitmq:
                    publisher = Publisher(settings.rabbitmq, "duragen worker")
                    closing.push_async_callback(publisher.close)
                    messages = OutcomeMessages(settings.rabbitmq, publisher)
                yield Clients(
                    http=http,
                    public=public,
                    odoo_http=odoo_http,
                    store=store,
                    images=ImageKeeper(store, spool),
                    spool=spool,
                    threads=threads,
                    memory=memory,
                    reports=reports,
                    board=board,
                    gates=gates,
                    messages=messages,
                    closing=closing,
                )


@asynccontextmanager
async def spool_uploaded(client: Client, clients: Clients) -> AsyncIterator[SpoolUploads]:
    """Bring what is in the spool to the store while the block runs."""
    uploads = SpoolUploads(clients.spool, clients.store)
    async with uploads.running(client):
        yield uploads


@asynccontextmanager
async def health_kept(client: Client, clients: Clients) -> AsyncIterator[None]:
    """Report calls to the health workflows of providers and Odoos, and keep circuits in view."""
    async with (
        clients.reports.reporting(client),
        clients.board.refreshing(client),
        clients.gates.watching(client),
    ):
        yield


def _with_alternatives(settings: Settings) -> set[str]:
    """Providers of models that have more than one."""
    shared = [model.routes for model in settings.models.values() if len(model.routes) > 1]
    return {route.provider for routes in shared for route in routes}
