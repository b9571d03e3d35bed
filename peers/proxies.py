"""The environment's proxies, read once and alike by httpx, boto3 and odoorpc.

`HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`; in lower case they go first. boto3 and odoorpc read them
by Python's own functions. httpx reads them otherwise (`ALL_PROXY`, networks in `NO_PROXY`), so it
gets what those functions say.
"""

import os
import ssl
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from peers.addresses import check_number

_SCHEMES = ("http", "https")

_METADATA_HOST = "169.254.169.254"
"""Where a machine at AWS finds its credentials, without TLS."""


def environment_proxies() -> dict[str, str]:
    """The proxy's URL by the scheme that is called.

    Raises ValueError, without the proxy's password, for what is not `http://host:port`: odoorpc
    speaks to a proxy in clear alone.
    """
    found = getproxies()
    proxies = {
        scheme: found[scheme] if "//" in found[scheme] else f"http://{found[scheme]}"
        for scheme in _SCHEMES
        if scheme in found
    }
    for scheme, proxy in proxies.items():
        if not _usable(proxy):
            raise ValueError(f"the variable {scheme.upper()}_PROXY is not http://host:port")
    return proxies


def keep_credentials_off() -> None:
    """Let no proxy see this machine's credentials: boto3 looks by the environment for them.

    It has no setting for that, so `NO_PROXY` of this process names the metadata service, too. Not
    its IPv6: libraries read that in different ways there.
    """
    name = "no_proxy" if "no_proxy" in os.environ else "NO_PROXY"
    named = [host.strip() for host in os.environ.get(name, "").split(",") if host.strip()]
    if named != ["*"]:
        os.environ[name] = ",".join(dict.fromkeys([*named, _METADATA_HOST]))


class ProxyTransport(httpx.AsyncBaseTransport):
    """Sends what the environment has a proxy for through that, and all else by `direct`.

    `public`: for addresses from outside. Then a proxy gets names alone, which it resolves itself,
    and no number that is not public: that raises AddressError.
    """

    def __init__(
        self,
        direct: httpx.AsyncBaseTransport,
        verify: ssl.SSLContext,
        limits: httpx.Limits,
        *,
        public: bool,
    ) -> None:
        self._direct = direct
        self._public = public
        self._proxied = {
            scheme: httpx.AsyncHTTPTransport(
                verify=verify, trust_env=False, limits=limits, proxy=httpx.Proxy(proxy)
            )
            for scheme, proxy in environment_proxies().items()
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make the call, either way."""
        url = request.url
        proxied = self._proxied.get(url.scheme)
        if proxied is None or proxy_bypass(url.netloc.decode("ascii")):
            return await self._direct.handle_async_request(request)
        if self._public:
            check_number(url.host)
        return await proxied.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in (self._direct, *self._proxied.values()):
            await transport.aclose()


def _usable(proxy: str) -> bool:
    try:
        url = urlsplit(proxy)
        return url.scheme == "http" and bool(url.hostname) and url.port is not None
    except ValueError:  # no number
        return False
