"""Addresses that come from outside: resolved once, checked, and connected to as they were checked.

What the settings name is trusted as it is. A link that somebody sent us may lead into our own
network, to this machine, or to the cloud's metadata service, by a name as well as by a number, and
by a name that resolves otherwise a moment later. So whatever name or spelling a URL has, the
numbers that it resolves to are looked at, and no other number is connected to. TLS still verifies
the name.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore

_NOT_PUBLIC_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            # IANA IPv4 Special-Purpose Address Registry, and multicast
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
            "168.63.129.16/32",  # Azure's own services, to each of its machines
        ),
    )
)
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given out. Mapped, unique local, link-local and multicast are outside of it."""

_NOT_PUBLIC_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        # Teredo and others of the IETF, documentation, 6to4, documentation
        ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""How a network of IPv6 alone reaches IPv4 (RFC 6052): what is embedded counts."""


class AddressError(Exception):
    """A host from outside leads to no public address."""


def is_public(address: str) -> bool:
    """Whether a number is one of the public internet; False for what is none, or has a zone."""
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(number, ipaddress.IPv4Address):
        return not any(number in network for network in _NOT_PUBLIC_V4)
    if number.scope_id is not None:
        return False
    if number in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)))
    return number in _UNICAST_V6 and not any(number in network for network in _NOT_PUBLIC_V6)


def check_number(host: str) -> None:
    """Raise AddressError where a host is a number, however it is written, and not a public one."""
    try:
        # A name's last dot is the DNS's root, and behind a number some leave it away.
        found = socket.getaddrinfo(host.rstrip("."), None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return  # a name
    if not all(is_public(str(place[0])) for *_, place in found):
        raise AddressError(f"{host[:200]} is not public")


class PublicBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone. Raises AddressError where a name leads to no other."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's own
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, connect to what was checked; each address has the whole timeout."""
        found = await _resolved(host, port, timeout)
        public = [address for address in found if is_public(address)]
        if not public:
            raise AddressError(f"{host} is at {', '.join(found)[:200]}, which is not public")
        failure: Exception | None = None
        for address in public:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")

    async def sleep(self, seconds: float) -> None:
        """Wait, between tries."""
        await self._inner.sleep(seconds)


async def _resolved(host: str, port: int, seconds: float | None) -> list[str]:
    """The numbers of a name, or of a number however it is written."""
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
    except TimeoutError:
        raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} was not resolved: {error}") from None
    return list(dict.fromkeys(str(place[0]) for *_, place in found))
