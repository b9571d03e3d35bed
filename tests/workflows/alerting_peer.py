"""A peer in Alertmanager's place, and what it knows from what was posted to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from tests.activities.http_peer import Peer, answer, listening
from workers.settings import AlertSettings, Settings

Key = tuple[str, str, str]
"""alertname, service, errorType."""


class AlertLog:
    """What was posted, in its order; `down()` and `up()` are Alertmanager's own health."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._peer.says(answer(200))

    @property
    def url(self) -> str:
        """Its origin."""
        return self._peer.url

    def settings(self, settings: Settings) -> Settings:
        """Settings that name it."""
        return settings.model_copy(update={"alerts": AlertSettings(base_url=self._peer.url)})

    def down(self) -> None:
        """Answer 503 from now on."""
        self._peer.script.clear()
        self._peer.script.append(answer(503))

    def up(self) -> None:
        """Answer 200 from now on; what was refused before is forgotten."""
        self._peer.says(answer(200))

    @property
    def posts(self) -> list[list[dict[str, Any]]]:
        """Each post's alerts."""
        assert {each.path for each in self._peer.received} <= {"/api/v2/alerts"}
        return [each.json for each in self._peer.received]

    @property
    def standing(self) -> dict[Key, dict[str, Any]]:
        """The alerts that fire by the last post about each, as Alertmanager would show them."""
        last = {_key(alert): alert for post in self.posts for alert in post}
        return {key: alert for key, alert in last.items() if _fires(alert)}

    async def shows(self, *keys: Key) -> None:
        """Wait until exactly these stand."""
        try:
            async with asyncio.timeout(100):
                while set(self.standing) != set(keys):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{set(self.standing)} stand, not {set(keys)}") from None


def _key(alert: dict[str, Any]) -> Key:
    labels = alert["labels"]
    return labels["alertname"], labels["service"], labels.get("errorType", "")


def _fires(alert: dict[str, Any]) -> bool:
    return datetime.fromisoformat(alert["endsAt"]) > datetime.now(UTC)


@asynccontextmanager
async def alertmanager() -> AsyncIterator[AlertLog]:
    """One that listens."""
    async with listening() as peer:
        yield AlertLog(peer)
