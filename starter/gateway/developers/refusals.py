"""Keys that Odoo has just refused: a flood of them must not reach it. What it takes is never kept.

A key that was made within these seconds is refused as long; one that was revoked counts no second
longer, because only refusals are remembered.
"""

import hashlib
import re
import time
from collections import OrderedDict

REFUSED_SECONDS = 10.0
MOST_REFUSED = 10_000

# Odoo's own: 20 random bytes in hexadecimal.
_KEY = re.compile(r"[0-9a-f]{40}", re.ASCII)


def may_be_key(text: str) -> bool:
    """Whether Odoo could have made it."""
    return bool(_KEY.fullmatch(text))


class Refusals:
    """Digests of refused keys, the oldest first; no more than `MOST_REFUSED`."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, key: str) -> None:
        """Odoo has refused it."""
        digest = _digest(key)
        self._until[digest] = time.monotonic() + REFUSED_SECONDS
        self._until.move_to_end(digest)
        if len(self._until) > MOST_REFUSED:
            self._until.popitem(last=False)

    def knows(self, key: str) -> bool:
        """Whether it was refused within the last seconds."""
        until = self._until.get(_digest(key))
        return until is not None and time.monotonic() < until


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
