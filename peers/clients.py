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
    *,
    ca_files: Mapping[str, Path] = MappingProxyType({}),
    certificate: Path | None = None,
    own: OwnHeaders | None = None,
) -> httpx.AsyncClient:
    """A client for addresses that the settings name, private or not; `own` are sent to theirs.

    `ca_files`, by origin, are trusted there in the place of what else is. `certificate` is shown to
    servers that ask for one.
    """
    client = _client(
        _direct(trusted(None, certificate)),
        {origin: _direct(trusted(file, certificate)) for origin, file in ca_files.items()},
    )
    if own:
        client.event_hooks = {"request": [own.add]}
    return client


def public_client(verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """A client for addresses from outside: what is not public raises AddressError."""
    return _client(_PublicTransport(verify or trusted()))


def trusted(ca_file: Path | None = None, certificate: Path | None = None) -> ssl.SSLContext:
    """Whose certificates count: the file's, else SSL_CERT_FILE's and SSL_CERT_DIR's, or httpx's.

    `certificate`, with its key, is our own for servers that ask for one.
    """
    found = ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()
    if certificate:
        found.load_cert_chain(certificate)
    return found


_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)


def _direct(verify: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=_LIMITS)


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
