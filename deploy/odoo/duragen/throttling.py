"""Counts refused calls by caller. Who is believed is never held up.

Each process of Odoo counts for itself, so with N workers a caller has up to N times as much. The
memory is bounded, and nothing is asked of the database.
"""

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from typing import NamedTuple

MOST_FAILURES, WINDOW_SECONDS = 100, 60
"""While a token is being changed, Duragen's first tries are refused: as many at once as it has
deliveries under way. A flood is many a second."""

BELIEVED_SECONDS, TIMES_BELIEVED = 3_600, 10
"""So long after a call that was believed, so many times as many may fail at the same place. Behind
one proxy all callers come from one place."""

MOST_ADDRESSES = 1_024
"""Of which a count is kept. When there are more, the one that failed first is forgotten."""


class Refusal(NamedTuple):
    """What follows from a failure: the seconds to `wait` when there were too many, else 0.

    What is no news any more need not be logged.
    """

    wait: int
    is_news: bool


class Failures:
    """Counts what failed, by a key, in windows of a minute that begin with the first failure."""

    def __init__(self, most=MOST_FAILURES, seconds=WINDOW_SECONDS, keys=MOST_ADDRESSES):
        self._most, self._seconds, self._keys = most, seconds, keys
        self._counts, self._believed = OrderedDict(), OrderedDict()
        self._lock = threading.Lock()

    def __len__(self):
        return len(self._counts)

    def believe(self, key, now=None):
        """Remember that an authentic call came from there."""
        now = time.monotonic() if now is None else now
        with self._lock:
            self._believed[key] = now
            self._believed.move_to_end(key)
            while len(self._believed) > self._keys:
                self._believed.popitem(last=False)

    def add(self, key, now=None):
        """Count one; a Refusal."""
        now = time.monotonic() if now is None else now
        with self._lock:
            began, count = self._counts.get(key, (now, 0))
            if now - began >= self._seconds:
                self._counts.pop(key)
                began, count = now, 0
            self._counts[key] = began, count + 1
            while len(self._counts) > self._keys:
                self._counts.popitem(last=False)
            believed = now - self._believed.get(key, -math.inf) < BELIEVED_SECONDS
        most = self._most * (TIMES_BELIEVED if believed else 1)
        wait = 0 if count < most else int(began + self._seconds - now) + 1
        return Refusal(wait, is_news=count < self._most)


def network_of(address):
    """What one caller has: an IPv4 address, or the 64 bits of an IPv6 network."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))
