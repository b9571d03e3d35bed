"""Peers that misbehave to order."""

from collections.abc import AsyncIterator

import pytest

from tests.activities.http_peer import Peer, listening


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A peer on loopback."""
    async with listening() as listener:
        yield listener
