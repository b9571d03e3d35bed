"""Addresses that lead nowhere but to the same machine."""

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit


def is_loopback(address: str) -> bool:
    """Whether `address`, host:port or a URL, is this machine by its name or number."""
    with suppress(ValueError):
        host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False
