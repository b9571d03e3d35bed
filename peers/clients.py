"""The one place that makes HTTP clients: without cookies and redirects.

A cookie that one generation's answer sets would go along with another user's. Redirects are
`peers.http.call`'s matter.
"""

import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import MappingProxyType

import httpcore
import httpx

from peers.addresses import PublicBackend
from peers.own_headers import OwnHeaders
from peers.proxies import ProxyTransport

CONNECT_SECONDS = 5.0

READ_BYTES = 256 * 1024
"""Read from a socket at a time: what the event loop takes from the kernel at once. With httpcore's
64 KiB an image costs 0.9 ms more, a fifth of its whole call."""

httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = READ_BYTES

KEPT_CONNECTIONS = 100
"""Idle ones that are kept open for the next call. There is no limit on those in use: other parts
hold that."""


def named_client(
    ca_files: Mapping[str, Path] = MappingProxyType({}),
    *,
    own: OwnHeaders | None = None,
    certificate: Path | None = None,
    use_proxies: bool = False,
) -> httpx.AsyncClient:
    """A client for addresses that the settings name, private or not.

    `ca_files`, by origin, are trusted there in the place of what else is. `own` are the headers
    that each peer wants, `certificate` is who we are to servers that ask for one. `use_proxies`:
    those of the environment (`peers.proxies`), else none.
    """

    def transport(ca_file: Path | None = None) -> httpx.AsyncBaseTransport:
        context = trusted(ca_file)
        if certificate:
            context.load_cert_chain(certificate)
        direct = httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=_LIMITS)
        if use_proxies:
            return ProxyTransport(direct, context, _LIMITS, public=False)
        return direct

    client = _client(transport(), {origin: transport(file) for origin, file in ca_files.items()})
    if own:
        client.event_hooks = {"request": [own.add]}
    return client


def public_client(
    verify: ssl.SSLContext | None = None, *, use_proxies: bool = False
) -> httpx.AsyncClient:
    """A client for addresses from outside: what is not public raises AddressError.

    Where a proxy of the environment is used, it resolves the names, and decides about those.
    """
    context = verify or trusted()
    direct = _PublicTransport(context)
    if use_proxies:
        return _client(ProxyTransport(direct, context, _LIMITS, public=True))
    return _client(direct)


def trusted(ca_file: Path | None = None) -> ssl.SSLContext:
    """Whose certificates count: the file's, else SSL_CERT_FILE's and SSL_CERT_DIR's, or httpx's."""
    return ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()


_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)


def _client(
    transport: httpx.AsyncBaseTransport,
    mounts: Mapping[str, httpx.AsyncBaseTransport] = MappingProxyType({}),
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        mounts=mounts,
        # The caller's own limit covers the whole call; httpx's are for connecting alone.
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        # Of the environment, SSL_CERT_FILE and SSL_CERT_DIR; proxies where `use_proxies` says so.
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )


class _PublicTransport(httpx.AsyncHTTPTransport):
    """httpx has no setting for it: the same pool as its own, connecting through `PublicBackend`."""

    def __init__(self, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify,
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=_LIMITS.keepalive_expiry,
            network_backend=PublicBackend(),
        )
