"""A second address of the sandbox Odoo, which a row can silence; to us an Odoo of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from contracts.odoo_health import OdooHealthRules
from tests.workflows.relay import Relay, Wire

SLOTS = 8
"""The worker's `max_in_flight` of an Odoo."""


class SecondOdoo:
    """`unanswered` counts deliveries that came while it was silent, or while Odoo was away."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._seconds = 0.0

    @classmethod
    @asynccontextmanager
    async def listening(cls) -> AsyncIterator[Self]:
        """It leads to nowhere until `aim` says where Odoo is."""
        async with Relay("127.0.0.1:1") as relay:
            yield cls(relay)

    @property
    def url(self) -> str:
        """Its origin."""
        return self._relay.url

    @property
    def unanswered(self) -> int:
        """Deliveries that had no answer."""
        return self._relay.unanswered

    def aim(self, odoo_url: str) -> None:
        """Lead to this Odoo."""
        self._relay.aim(odoo_url)

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """It takes what comes and never answers, until the block ends."""
        self._relay.wire = Wire.SILENT
        try:
            async with self.outage():
                yield
        finally:
            self._relay.wire = Wire.WHOLE

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """The time in which nothing is answered, whatever the reason."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds += time.monotonic() - began

    @property
    def most(self) -> int:
        """How many deliveries an outage may cost: what finds it out, and one for each probe."""
        rules = OdooHealthRules()
        probes = int(self._seconds // rules.probe_seconds) + 1
        return rules.failures_in_a_row + SLOTS + probes

    def complaints(self) -> list[str]:
        """What is wrong with what the outage has cost."""
        if self.unanswered <= self.most:
            return []
        return [f"{self.unanswered} deliveries to an Odoo that was away, at most {self.most} may"]


async def sleep_until(began: float, seconds: float) -> None:
    """Until so long after `began`."""
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
