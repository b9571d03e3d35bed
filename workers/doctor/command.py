"""The command `duragen doctor`: is everything there that a generation needs, and if not, what then.

One line for each dependency: what was found, or what is wrong and how to fix it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from functools import partial

import httpx
import typer
from temporalio.client import Client
from temporalio.service import RPCError

from activities.providers.registry import probes
from contracts.plain import one_line
from peers.clients import named_client
from peers.encryption import KEYS_VARIABLE, EncryptionError
from peers.settings import SettingsError
from peers.temporal import connect, target
from peers.terminal import complain, console, styled
from workers.doctor import services, temporal
from workers.doctor.finding import Finding
from workers.doctor.store import spool, store
from workers.settings import Settings

TIMEOUT_SECONDS = 5.0
EXIT_TROUBLE, EXIT_SETTINGS = 1, 2


def doctor() -> None:
    """Check every dependency; exit 0 when all is well, 1 on trouble, 2 for settings."""
    try:
        settings = Settings.read()
    except SettingsError as error:
        complain(error)
        raise typer.Exit(EXIT_SETTINGS) from None
    raise typer.Exit(EXIT_TROUBLE if asyncio.run(_report(settings)) else 0)


async def _report(settings: Settings) -> int:
    out = console(soft_wrap=True)
    trouble = 0
    async for finding in examine(settings):
        trouble += bool(finding.fix)
        sign = styled("wrong", "red") if finding.fix else styled("ok   ", "green")
        fix = f"; {finding.fix}" if finding.fix else ""
        out.print(sign, one_line(f"{finding.what}: {finding.found}{fix}"))
    return trouble


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Look at everything the settings name, one after the other."""
    yield Finding("settings", f"{len(settings.models)} models, {len(settings.providers)} providers")
    yield services.grace(settings)
    yield services.encryption()
    if settings.worker.use_proxies:
        yield services.proxies()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            client = await connect()
    except SettingsError as error:
        yield Finding(
            "Temporal", str(error), "set TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and so on"
        )
    except (RuntimeError, TimeoutError) as error:
        yield Finding(
            "Temporal",
            f"{target()} cannot be reached ({str(error) or 'no answer in time'})",
            "start it (duragen up starts one) or set TEMPORAL_ADDRESS",
        )
    else:
        async for finding in _temporal(client, settings):
            yield finding
    process = settings.worker
    with_own = partial(  # as the worker's
        named_client,
        settings.ca_files,
        own=settings.own_headers,
        use_proxies=process.use_proxies,
    )
    async with (
        with_own() as http,
        with_own(certificate=process.client_certificate) as odoo_http,
    ):
        yield await _bounded("store", store(settings, http))
        yield await _bounded("spool", spool(settings.worker))
        for name, probe in probes(settings.providers, http, settings.models_by_provider).items():
            what = f"provider {name}"
            yield await _bounded(what, services.provider(what, probe))
        for odoo in settings.odoo:
            looking = services.odoo_server(odoo_http, odoo, use_proxies=process.use_proxies)
            yield await _bounded(f"Odoo {odoo.origin}", looking)
        async for finding in _announced(settings, http):
            yield finding
    if not settings.odoo:
        yield Finding("Odoo", "none in the settings", "add [[odoo]] with its origin")


async def _announced(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Those who hear of outcomes and troubles."""
    if settings.notify:
        looking = services.notifications(http, settings.notify)
        yield await _bounded("notifications", looking)
    if settings.rabbitmq:
        yield await _bounded("RabbitMQ", services.broker(settings.rabbitmq))
    yield await _bounded("Alertmanager", services.alertmanager(http, settings.alerts))


async def _temporal(client: Client, settings: Settings) -> AsyncIterator[Finding]:
    attributes = await _bounded("Temporal", temporal.search_attributes(client))
    yield attributes
    for queue, served_as in temporal.queues(settings):
        yield await _bounded(f"queue {queue}", temporal.served(client, queue, served_as))
    for name in settings.providers:
        yield await _bounded(f"health of {name}", temporal.health(client, name))
    for odoo in settings.odoo:
        what = f"health of {odoo.origin}"
        yield await _bounded(what, temporal.odoo_health(client, odoo.origin))
    if attributes.fix:
        return  # nothing can be counted by attributes that are not there
    yield await _bounded("parked deliveries", temporal.parked(client))
    yield await _bounded("images on workers' disks", temporal.storing(client))
    yield await _bounded("failed generations", temporal.failed(client))
    yield await _bounded("stuck workflows", temporal.stuck(client))


async def _bounded(what: str, check: Awaitable[Finding]) -> Finding:
    try:
        async with asyncio.timeout(4 * TIMEOUT_SECONDS):
            return await check
    except TimeoutError:
        return Finding(what, "no answer in time", "look whether it is overloaded or hangs")
    except RPCError as error:
        return Finding(what, f"Temporal said: {error.message}", "check namespace and rights")
    except EncryptionError as error:
        return Finding(what, str(error), f"give the doctor the workers' {KEYS_VARIABLE}")
