"""What `duragen doctor` asks of image services, Odoo, the rest."""

import asyncio
from collections.abc import Mapping

import httpx

from activities.providers.probing import Probe
from peers.bodies import BodyError
from peers.encryption import EncryptionError, keyring
from peers.http import call
from peers.odoo_rpc import OdooRpcError, OdooSession
from peers.proxies import environment_proxies
from peers.rabbitmq import BrokerError, RabbitTable, broker_errors, connected
from workers.doctor.finding import Finding
from workers.odoo_wiring import rpc_account
from workers.settings import AlertSettings, NotifySettings, OdooSettings, Settings

# A login is a look-up: an Odoo that needs longer would not take outcomes in time either.
LOGIN_SECONDS = 10.0

LOOK_SECONDS = 5.0
MAX_PAGE_BYTES = 1024 * 1024

GRACE_MARGIN_SECONDS = 15.0
"""To report what was done, to close connections, and for a slow machine."""


def grace(settings: Settings) -> Finding:
    """How long a worker needs to leave, so that no call that is paid for is cut off."""
    needed, given = settings.longest_call_seconds, settings.grace_seconds
    if given < needed:
        return Finding(
            "leaving",
            f"a worker ends its calls {given:g} s after SIGTERM, and one may take {needed:g} s",
            "leave worker.graceful_seconds out, or each deploy may pay for calls twice",
        )
    return Finding(
        "leaving",
        f"a worker may need {given:g} s after SIGTERM: give it {given + GRACE_MARGIN_SECONDS:g} s"
        " before SIGKILL (Kubernetes: terminationGracePeriodSeconds; systemd: TimeoutStopSec)",
    )


def encryption() -> Finding:
    """Whether payloads are encrypted, and with which keys; SettingsError comes with Temporal."""
    try:
        keys = keyring()
    except EncryptionError as error:
        return Finding("encryption", str(error), "see docs/personal-data.md")
    if keys is None:
        return Finding("encryption", "no keys here: what starts with these variables is in clear")
    ids = ", ".join(keys.keys)
    how = f"with {keys.first}" if keys.first else "off, to begin with (clear)"
    return Finding("encryption", f"{how}; readable: {ids}")


def proxies() -> Finding:
    """Which of the environment's are used, without their passwords."""
    found = {scheme: httpx.URL(url) for scheme, url in environment_proxies().items()}
    if not found:
        return Finding(
            "proxies",
            "worker.use_proxies is set, and the environment has none",
            "set HTTPS_PROXY or HTTP_PROXY, or leave worker.use_proxies out",
        )
    listed = (f"{scheme} by {url.host}:{url.port or 80}" for scheme, url in found.items())
    return Finding("proxies", ", ".join(listed) + "; not for what NO_PROXY names")


async def provider(what: str, ask: Probe) -> Finding:
    """Whether the service would serve us, by a free look-up."""
    probed = await ask()
    return Finding(what, probed.found, probed.fix)


async def odoo_server(
    http: httpx.AsyncClient, odoo: OdooSettings, *, use_proxies: bool = False
) -> Finding:
    """Whether it answers; by odoorpc also whether it takes the login."""
    what = f"Odoo {odoo.origin}"
    if odoo.delivery == "rabbitmq":
        return Finding(what, "takes its outcomes from RabbitMQ, see there")
    if odoo.delivery == "odoorpc":
        try:
            account = rpc_account(odoo, use_proxies=use_proxies)
            await asyncio.to_thread(OdooSession(account, LOGIN_SECONDS).login)
        except OdooRpcError as error:
            return Finding(what, error.detail, "check the [[odoo]] table and that Odoo is up")
        return Finding(what, f"takes the login {odoo.login} ({odoo.model}.{odoo.method})")
    try:
        status = await _status(http, odoo.origin)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Finding(what, f"cannot be reached ({reason})", "start it, or check odoo.origin")
    return Finding(what, f"answers ({status}); callbacks are checked when one is made")


async def _status(
    http: httpx.AsyncClient, url: str, headers: Mapping[str, str] | None = None
) -> int | str:
    """What it answers to a look: a status, or that its page cannot be read."""
    try:
        answer = await call(
            http,
            "GET",
            url,
            timeout_seconds=LOOK_SECONDS,
            max_bytes=MAX_PAGE_BYTES,
            headers=headers,
        )
    except BodyError as error:
        return f"200, {error}"
    return answer.status


async def notifications(http: httpx.AsyncClient, notify: NotifySettings) -> Finding:
    """Whether the notification service answers."""
    what = f"notifications {notify.base_url}"
    try:
        status = await _status(http, notify.base_url)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Finding(what, f"cannot be reached ({reason})", "start it, or check notify.base_url")
    return Finding(what, f"answers ({status})")


async def alertmanager(http: httpx.AsyncClient, alerts: AlertSettings | None) -> Finding:
    """Whether it takes alerts; to have none is no fault."""
    if alerts is None:
        found = "none in the settings: what is wrong with providers is said in the worker's log"
        return Finding("Alertmanager", found)
    what = f"Alertmanager {alerts.base_url}"
    token = {"Authorization": f"Bearer {alerts.token.get_secret_value()}"} if alerts.token else {}
    try:
        status = await _status(http, f"{alerts.base_url.rstrip('/')}/-/ready", token)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Finding(what, f"cannot be reached ({reason})", "start it, or check alerts.base_url")
    if status in {401, 403}:
        return Finding(what, f"answered {status}", "set a valid token: alerts.token")
    if status != 200:
        return Finding(what, f"answered {status}", "check alerts.base_url")
    return Finding(what, "is ready")


async def broker(table: RabbitTable) -> Finding:
    """Whether it lets us in, and what waits there; the queues are the consumer's to make."""
    try:
        async with connected(table, "duragen doctor") as connection:
            with broker_errors(table):
                async with connection.channel() as channel:
                    await channel.get_exchange(table.exchange)
                async with connection.channel() as channel:
                    letters = await channel.get_queue(table.dead_letter_queue)
    except BrokerError as error:
        return Finding("RabbitMQ", str(error), "then run `duragen rabbitmq`, which makes the rest")
    dead = letters.declaration_result.message_count or 0
    fix = "look at them: `duragen deadletters list`" if dead else ""
    return Finding("RabbitMQ", f"{table.place} answers; {dead} dead letters", fix)
