"""Ports for what tests start, and for where nobody may answer."""

import os
from itertools import cycle

from deploy.local.stack.ports import free

_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST, _MANY = 10_000 + _PROCESS % 5 * 1_000, 1_000
# Two runs beside each other do not begin with the same one.
_OWN = cycle(_FIRST + (os.getpid() + number) % _MANY for number in range(_MANY))
"""Of this test process alone, below those that the stack and the system give away: another test
must neither take a port before the server listens there that it was chosen for, nor call a server
at a port where it wants to find nobody."""


def free_port() -> int:
    """A port of loopback that nobody listens on; the next call gives another one."""
    return next(port for port in _OWN if free(port))
