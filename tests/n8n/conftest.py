"""One N8N and one stack a session."""

from collections.abc import AsyncIterator

import pytest

from tests.n8n.world import World


@pytest.fixture(scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Both, as tests leave them: running."""
    async with World.opened(tmp_path_factory.mktemp("n8n")) as opened:
        yield opened
