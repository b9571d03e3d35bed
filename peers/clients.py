"""The one place that makes HTTP clients: without cookies, proxies and redirects.

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

CONNECT_SECONDS = 5.0

KEPT_CONNECTIONS = 100
"""Idle ones that are kept open for the next call. There is no limit on those in use: other parts
hold that."""


def named_client(
    ca_files: Mapping[str, Path] = MappingProxyType({}),
    *,
    own: OwnHeaders | None = None,
    certificate: Path | None = None,
) -> httpx.AsyncClient:
    """A client for addresses that the settings name, private or not.

    `ca_files`, by origin, are trusted there in the place of what else is. `own` are the headers
    that each peer wants, `certificate` is who we are to servers that ask for one.
    """

    def direct(ca_file: Path | None = None) -> httpx.AsyncHTTPTransport:
        context = trusted(ca_file)
        if certificate:
            context.load_cert_chain(certificate)
        return httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=_LIMITS)

    client = _client(direct(), {origin: direct(file) for origin, file in ca_files.items()})
    if own:
        client.event_hooks = {"request": [own.add]}
    return client


def public_client(verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """A client for addresses from outside: what is not public raises AddressError."""
    return _client(_PublicTransport(verify or trusted()))


def trusted(ca_file: Path | None = None) -> ssl.SSLContext:
    """Whose certificates count: the file's, else SSL_CERT_FILE's and SSL_CERT_DIR's, or httpx's."""
    return ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()


_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)


def _client(
    transport: httpx.AsyncHTTPTransport,
    mounts: Mapping[str, httpx.AsyncHTTPTransport] = MappingProxyType({}),
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        mounts=mounts,
        # The caller's own limit covers the whole call; httpx's are for connecting alone.
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        # Of the environment, SSL_CERT_FILE and SSL_CERT_DIR alone: no proxy sees keys and outcomes.
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
