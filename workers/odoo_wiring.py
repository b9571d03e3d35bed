"""The part of the wiring that is an Odoo's: its client, its threads, its slots."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial

import httpx

from activities.connection import ConnectionActivities
from activities.odoo.callback import CallbackDelivery
from activities.odoo.deliver import OdooDelivery
from activities.odoo.recovery import OdooAddress
from activities.odoo.rpc import RpcDelivery
from activities.outcome_messages import BrokerDelivery, OutcomeMessages
from activities.providers.registry import kind_of
from contracts.names import provider_jobs_queue, provider_queue
from peers.odoo_rpc import RpcAccount
from peers.rabbitmq import RabbitTable, silent
from workers.settings import OdooSettings, Settings


def odoo_delivery(
    odoo: OdooSettings,
    http: httpx.AsyncClient,
    closing: AsyncExitStack,
    messages: OutcomeMessages | None = None,
    *,
    use_proxies: bool = False,
) -> OdooDelivery:
    """The way that its settings say; threads are ended by `closing`.

    `messages` is the broker's; the settings see to it that there is one where it is needed.
    """
    if odoo.delivery == "rabbitmq" and messages:
        return BrokerDelivery(messages, odoo.signing_secrets)
    if odoo.delivery == "callback":
        return CallbackDelivery(
            http,
            odoo.origin,
            odoo.tokens,
            odoo.signing_secrets,
            paths=odoo.callback_paths,
        )
    threads = ThreadPoolExecutor(odoo.max_in_flight, thread_name_prefix="odoorpc")
    closing.callback(threads.shutdown)
    return RpcDelivery(rpc_account(odoo, use_proxies=use_proxies), threads)


def odoo_address(odoo: OdooSettings, broker: RabbitTable | None) -> OdooAddress:
    """Where it is asked whether it is back; for one that takes outcomes from the broker, there."""
    there = (odoo.delivery == "odoorpc" and odoo.url) or odoo.origin
    # So that no slot waits for the next one.
    by_broker = broker if odoo.delivery == "rabbitmq" else None
    return OdooAddress(
        there,
        odoo.deliveries_per_second,
        2 * odoo.max_in_flight,
        partial(silent, by_broker) if by_broker else None,
    )


def connection_test(settings: Settings, odoos: Mapping[str, OdooDelivery]) -> ConnectionActivities:
    """What a connection test asks: over the models, and the ways to the Odoos."""
    queues = {
        name: (provider_queue(name), *[provider_jobs_queue(name)] * kind_of(provider).has_jobs)
        for name, provider in settings.providers.items()
    }
    return ConnectionActivities(
        {model_id: model.routes for model_id, model in settings.models.items()},
        queues,
        {odoo.origin: odoo.callback_paths for odoo in settings.odoo},
        odoos,
        {odoo.origin for odoo in settings.odoo if odoo.delivery == "rabbitmq"},
    )


def deliveries_at_once(odoo: OdooSettings, images_in_memory: int) -> int:
    """In one process; each delivery of an image itself holds one in memory."""
    if odoo.images == "data":
        return min(odoo.max_in_flight, images_in_memory)
    return odoo.max_in_flight


def rpc_account(odoo: OdooSettings, *, use_proxies: bool = False) -> RpcAccount:
    """Where and as whom odoorpc logs in."""
    return RpcAccount(
        url=odoo.url or odoo.origin,
        database=odoo.database or "",
        login=odoo.login or "",
        password=odoo.password.get_secret_value() if odoo.password else "",
        model=odoo.model,
        method=odoo.method,
        ca_file=odoo.ca_file,
        use_proxies=use_proxies,
    )
