"""The command `duragen doctor`: is everything there that a generation needs, and if not, what then.

One line for each dependency: what was found, or what is wrong and how to mend it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple

import httpx
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.errors import OdooError
from activities.odoo_rpc import open_session
from contracts.names import (
    GENERATION_QUEUE,
    PROVIDER_QUEUE_PREFIX,
    SEARCH_ATTRIBUTES,
    provider_jobs_queue,
)
from workers.connection import connect, target
from workers.settings import NotifySettings, OdooSettings, ProviderSettings, Settings, SettingsError
from workers.wiring import rpc_account, s3_client

TIMEOUT_SECONDS = 5.0
EXIT_TROUBLE, EXIT_SETTINGS = 1, 2


class Finding(NamedTuple):
    """One dependency: `mend` is empty when it is well."""

    what: str
    found: str
    mend: str = ""


def doctor() -> None:
    """Check every dependency; exit 0 when all is well, 1 on trouble, 2 for settings."""
    try:
        settings = Settings.read()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  # for the person at the terminal
        raise typer.Exit(EXIT_SETTINGS) from None
    raise typer.Exit(EXIT_TROUBLE if asyncio.run(_report(settings)) else 0)


async def _report(settings: Settings) -> int:
    console = Console(highlight=False, soft_wrap=True)
    trouble = 0
    async for finding in examine(settings):
        trouble += bool(finding.mend)
        sign = "[red]wrong[/]" if finding.mend else "[green]ok[/]   "
        mend = f"; {finding.mend}" if finding.mend else ""
        line = " ".join(f"{finding.what}: {finding.found}{mend}".split())
        console.print(f"{sign} {escape(line)}")
    return trouble


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Look at everything the settings name, one after the other."""
    yield Finding("settings", f"{len(settings.models)} models, {len(settings.providers)} providers")
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
        yield await _bounded("Temporal", _search_attributes(client))
        for queue in settings.queues:
            yield await _bounded(f"queue {queue}", _queue(client, queue, queue))
            name = queue.removeprefix(PROVIDER_QUEUE_PREFIX)
            if name != queue and settings.providers[name].kind == "flux":
                jobs = provider_jobs_queue(name)
                yield await _bounded(f"queue {jobs}", _queue(client, jobs, queue))
    yield await _bounded("store", asyncio.to_thread(_store, settings))
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        for name, provider in settings.providers.items():
            yield await _bounded(f"provider {name}", _provider(http, name, provider))
        for odoo in settings.odoo:
            yield await _bounded(f"Odoo {odoo.origin}", _odoo(http, odoo))
        if settings.notify:
            yield await _bounded("notifications", _notify(http, settings.notify))
    if not settings.odoo:
        yield Finding("Odoo", "none in the settings", "add [[odoo]] with its origin")


async def _bounded(what: str, check: Awaitable[Finding]) -> Finding:
    try:
        async with asyncio.timeout(4 * TIMEOUT_SECONDS):
            return await check
    except TimeoutError:
        return Finding(what, "no answer in time", "look whether it is overloaded or hangs")
    except RPCError as error:
        return Finding(what, f"Temporal said: {error.message}", "check namespace and rights")


async def _search_attributes(client: Client) -> Finding:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    answer = await client.operator_service.list_search_attributes(request)
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    missing = [n for n in SEARCH_ATTRIBUTES if answer.custom_attributes.get(n) != keyword]
    if missing:
        options = " ".join(f"--name {name} --type Keyword" for name in missing)
        return Finding(
            "Temporal",
            f"{target()} lacks the search attributes {', '.join(missing)}",
            f"temporal operator search-attribute create --namespace {client.namespace} {options}",
        )
    return Finding("Temporal", f"{target()}, {len(SEARCH_ATTRIBUTES)} search attributes")


async def _queue(client: Client, queue: str, served_as: str) -> Finding:
    kind = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    if queue == GENERATION_QUEUE:
        kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    what = f"queue {queue}"
    if not answer.pollers:
        return Finding(what, "no worker serves it", f"duragen worker --queue {served_as}")
    who = sorted({poller.identity for poller in answer.pollers})
    return Finding(what, f"{len(who)} worker{'s' * (len(who) > 1)} ({', '.join(who)})")


def _store(settings: Settings) -> Finding:
    storage = settings.storage
    where = f"bucket {storage.bucket} at {storage.endpoint_url or 'AWS S3, ' + storage.region}"
    try:
        s3_client(storage).head_bucket(Bucket=storage.bucket)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        mend = {
            404: f"create the bucket {storage.bucket}",
            403: "check storage.access_key_id, storage.secret_access_key and the bucket's policy",
        }.get(status, "look into the store's log")
        return Finding("store", f"{where} answered {status}", mend)
    except BotoCoreError as error:
        return Finding("store", f"{where}: {error}", "check storage.* and that the store is up")
    return Finding("store", where)


async def _provider(http: httpx.AsyncClient, name: str, provider: ProviderSettings) -> Finding:
    what = f"provider {name}"
    key = provider.api_key.get_secret_value()
    # Free look-ups that need the key; a compatible server may lack them.
    path, headers = {
        "openai": ("/v1/models", {"Authorization": f"Bearer {key}"}),
        "flux": ("/v1/credits", {"x-key": key}),
    }[provider.kind]
    try:
        answer = await http.get(provider.base_url.rstrip("/") + path, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        mend = f"check providers.{name}.base_url and that the service is up"
        return Finding(what, f"{provider.base_url} cannot be reached ({reason})", mend)
    if answer.status_code in {401, 403}:
        mend = f"set a valid key: providers.{name}.api_key"
        return Finding(what, f"{provider.base_url} refuses the key", mend)
    if answer.status_code in {404, 405}:
        return Finding(what, f"{provider.base_url} answers; it has no way to check the key")
    if answer.status_code != 200:
        mend = "look at the service's status page"
        return Finding(what, f"{provider.base_url} answered {answer.status_code}", mend)
    return Finding(what, f"{provider.base_url} takes the key")


async def _odoo(http: httpx.AsyncClient, odoo: OdooSettings) -> Finding:
    what = f"Odoo {odoo.origin}"
    if odoo.delivery == "odoorpc":
        try:
            await asyncio.to_thread(open_session, rpc_account(odoo))
        except OdooError as error:
            return Finding(what, error.detail, "check the [[odoo]] table and that Odoo is up")
        return Finding(what, f"takes the login {odoo.login} ({odoo.model}.{odoo.method})")
    try:
        answer = await http.get(odoo.origin)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Finding(what, f"cannot be reached ({reason})", "start it, or check odoo.origin")
    return Finding(what, f"answers ({answer.status_code}); callbacks are checked when one is made")


async def _notify(http: httpx.AsyncClient, notify: NotifySettings) -> Finding:
    what = f"notifications {notify.base_url}"
    try:
        answer = await http.get(notify.base_url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Finding(what, f"cannot be reached ({reason})", "start it, or check notify.base_url")
    return Finding(what, f"answers ({answer.status_code})")
