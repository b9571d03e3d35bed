"""How many connections a server bears, and which one gives way when there is no room.

A connection is **waiting** while it has no request under way (before the end of its headers, and
between two requests), and while its caller does not read the answer.
"""

import asyncio
import logging
import math
import resource
from collections import Counter, defaultdict
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

logger = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network

RESERVED_DESCRIPTORS = 64
"""For all that is no caller: Temporal, telemetry, logs, the health port and its callers."""

_SAID_EVERY = 60.0
"""Seconds between two log lines about refused connections: a flood must not fill the disk."""


class Connection(Protocol):
    """What the pool needs of a connection: uvicorn's protocols have it."""

    client: tuple[str, int] | None
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    due: float
    """When its wait is over, by the loop's clock; the pool sets it."""


@dataclass(frozen=True)
class ConnectionLimits:
    """What one listener bears."""

    connections: int
    """In all. One more, and the one that has waited longest gives way."""
    per_address: int | None = None
    """From one IPv4 address or IPv6 /64, other than `proxies`."""
    proxies: tuple[Network, ...] = ()
    header_seconds: float = 10.0
    """From the accepted connection, or the first byte of a further request, to the headers' end."""
    idle_seconds: float = 75.0
    """Between two requests."""
    unread_seconds: float = 30.0
    """How long a caller may read so little of an answer that more than 64 KiB wait for it."""


def spare_descriptors() -> int:
    """How many callers' connections the process' limit of descriptors leaves room for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 1_000_000
    return max(limit - RESERVED_DESCRIPTORS, 16)


class ConnectionPool:
    """All connections of one listener."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: Counter[str] = Counter()
        self._of: dict[Connection, str] = {}
        self._waiting: dict[Connection, None] = {}
        """The one that has waited longest is the first."""
        self._waiting_of: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        shortest = min(limits.header_seconds, limits.idle_seconds, limits.unread_seconds)
        self._sweep_seconds = min(1.0, shortest / 4)
        self._sweeping = False
        self._cut = 0
        self._said = -math.inf

    def enter(self, connection: Connection) -> bool:
        """Count a new connection; False when there is no room, and none that could give way.

        The longest waiting gives way, whoever it is: the one that is about to send its headers is
        the youngest, so that whoever holds many silent ones loses those.
        """
        limits = self.limits
        address, exempt = _caller(connection.client, limits.proxies)
        crowded = limits.per_address is not None and not exempt
        if crowded and self._open[address] >= (limits.per_address or 0):
            waiting = self._waiting_of[address]
        elif len(self._of) >= limits.connections:
            waiting = self._waiting
        else:
            waiting = None
        if waiting is not None:
            self._count_cut(connection.loop.time())
            oldest = next(iter(waiting), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.transport.abort()
        self._of[connection] = address
        self._open[address] += 1
        self.waits(connection, limits.header_seconds)
        if not self._sweeping:
            self._sweeping = True
            connection.loop.call_later(self._sweep_seconds, self._sweep, connection.loop)
        return True

    def waits(self, connection: Connection, seconds: float) -> None:
        """Its caller has so long from now on; nothing when it is gone already."""
        if address := self._of.get(connection):
            connection.due = connection.loop.time() + seconds
            self._waiting[connection] = None
            self._waiting_of[address][connection] = None

    def works(self, connection: Connection) -> None:
        """It has a request under way, and does not give way."""
        self._waiting.pop(connection, None)
        if address := self._of.get(connection):
            self._waiting_of[address].pop(connection, None)

    def leave(self, connection: Connection) -> None:
        """Forget it; harmless when that was done before."""
        self.works(connection)
        address = self._of.pop(connection, None)
        if address is None:
            return
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
            self._waiting_of.pop(address, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut off those whose wait is over. One timer for all: each request would set two."""
        now = loop.time()
        for connection in [each for each in self._waiting if each.due <= now]:
            # abort, not close: what the caller does not read would hold the connection open.
            connection.transport.abort()
        self._sweeping = bool(self._of)
        if self._sweeping:
            loop.call_later(self._sweep_seconds, self._sweep, loop)

    def _count_cut(self, now: float) -> None:
        self._cut += 1
        if now - self._said >= _SAID_EVERY:
            logger.warning("too many connections: %d cut off, of %d", self._cut, len(self._of))
            self._cut, self._said = 0, now


def _caller(client: tuple[str, int] | None, proxies: tuple[Network, ...]) -> tuple[str, bool]:
    """What is counted as one address, and whether it may have any number of connections."""
    if client is None:
        return "?", False
    address = ip_address(client[0])
    exempt = any(address in network for network in proxies)
    if isinstance(address, IPv6Address):
        # Whoever has one address of a /64 usually has them all.
        return str(ip_network((address, 64), strict=False)), exempt
    return str(address), exempt
