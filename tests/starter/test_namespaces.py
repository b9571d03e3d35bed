"""Tenants with direct access to Temporal have a namespace each; `duragen` works with several."""

import pytest
from temporalio.client import Client

from starter.client import AsyncDuragenClient
from starter.operations.parked import parked
from tests.starter.entry_points import (
    REFUSING_ONCE,
    duragen,
    fresh_namespace,
    make_event,
    working,
)


@pytest.fixture
async def tenants(address: str) -> tuple[Client, Client]:
    """Two namespaces of one server."""
    return await fresh_namespace(address), await fresh_namespace(address)


def client_of(tenant: Client) -> AsyncDuragenClient:
    """What this tenant's Odoo has."""
    address = tenant.service_client.config.target_host
    return AsyncDuragenClient(address, tenant.namespace, retry_seconds=())


async def test_one_request_id_in_two_namespaces(tenants: tuple[Client, Client]) -> None:
    """The same requestId is a generation of its own in each, and no conflict."""
    event = make_event()
    started = [
        await client_of(tenant).start({**event, "prompt": tenant.namespace}) for tenant in tenants
    ]
    assert [each.created for each in started] == [True, True]
    assert started[0].run_id != started[1].run_id


async def test_a_command_speaks_of_the_namespace_it_is_given(
    address: str, tenants: tuple[Client, Client]
) -> None:
    """What is parked in one is listed, shown and delivered there alone."""
    mine, other = tenants
    event = make_event(callbackUrl=REFUSING_ONCE)
    async with working(mine):
        await client_of(mine).start(event)
        while not [each async for each in parked(mine)]:
            pass
        server = {"TEMPORAL_ADDRESS": address}

        async def ask(tenant: Client, *words: str) -> tuple[int | None, str]:
            done = await duragen("--namespace", tenant.namespace, *words, **server)
            return done.code, done.out + done.err

        assert event["requestId"] in (await ask(mine, "parked"))[1]
        assert event["requestId"] not in (await ask(other, "parked"))[1]
        code, said = await ask(other, "status", event["requestId"])
        assert (code, other.namespace in said) == (4, True)
        assert (await ask(other, "cancel", event["requestId"]))[0] == 4
        assert (await ask(other, "redeliver", event["requestId"]))[0] == 4
        assert (await ask(mine, "redeliver", event["requestId"]))[0] == 0
        assert (await client_of(mine).result(event["requestId"]))["format"] == "png"


async def test_an_unknown_namespace_is_named(address: str) -> None:
    """A misspelt one is one clear line."""
    done = await duragen("-n", "nobodys", "parked", TEMPORAL_ADDRESS=address)
    assert done.code == 8
    assert "nobodys" in done.err
