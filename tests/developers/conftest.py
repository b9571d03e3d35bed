"""One whole stack a session, and a new API user each test."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from tests.developers.world import (
    CREDITS,
    RECEIVER_PORTS,
    Developer,
    break_images,
    break_odoo,
    hold,
    limit,
)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """All parts, with few credits for each user."""
    folder = tmp_path_factory.mktemp("developers")
    private = [f"http://127.0.0.1:{port}" for port in RECEIVER_PORTS]
    options, more = (
        SandboxOptions(credits=CREDITS),
        {"webhooks": {"private": private, "max_in_flight": 10}},
    )
    with LocalStack(folder, options=options, overrides=more) as running:
        yield running


@pytest.fixture
async def http(whole: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key; all faults are gone afterwards."""
    async with httpx.AsyncClient(timeout=100, trust_env=False) as client:
        yield client
        await break_odoo(whole, client)
        await hold(whole, client, None)
        await break_images(whole, client)
        await limit(whole, client)


@pytest.fixture
async def developer(whole: LocalStack, http: httpx.AsyncClient) -> Developer:
    """A new one."""
    return await Developer.new(whole, http)
