"""Links in a service's answers: where they may lead, and how they are followed.

A link is somebody else's word. It is followed to `base_url`'s own scheme, host and port, and to
hosts that the settings list; and those must be at public addresses, unless the settings say that
they may be private. No link gets the key but one that is polled, no redirect is followed, and
nothing that is found behind a result's link is quoted.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

import httpx

from activities.providers.kind import LinkSettings
from contracts.errors import ErrorCode
from peers.http import Answer, call, nothing
from peers.setting_types import host_and_port

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(rb"[a-z0-9_.:-]+")
"""Names as they are in the DNS, and numbers. httpx leaves what it cannot read in a name."""

_ANY_BELOW = "*."


class LinkError(Exception):
    """A link that is not followed; the text names the host, and nothing else of it.

    `code`: INVALID_OUTPUT where it is no link, MODEL_CONFIG where the settings do not allow it.
    """

    def __init__(self, detail: str, code: ErrorCode = ErrorCode.INVALID_OUTPUT) -> None:
        super().__init__(detail)
        self.code = code


class _Place(NamedTuple):
    scheme: str
    host: str
    port: int


class Links:
    """The links of one service. `named` calls what the settings name, `public` the rest.

    `hosts` are rules (`peers.setting_types.HostRule`) of the setting `setting`.
    """

    def __init__(
        self,
        base_url: str,
        named: httpx.AsyncClient,
        public: httpx.AsyncClient,
        hosts: Iterable[str] = (),
        *,
        setting: str,
        private: bool,
    ) -> None:
        self._own = _place(httpx.URL(base_url))
        self._named = named
        self._public = public
        self._hosts = tuple(hosts)
        self._setting = setting
        self._private = private

    def check(self, link: str) -> None:
        """Raise LinkError when the link may not be followed."""
        self._client_for(link)

    async def get(
        self,
        link: str,
        *,
        timeout_seconds: float,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        before_body: Callable[[], Awaitable[None]] = nothing,
    ) -> Answer:
        """Follow a link. Raises LinkError, AddressError, and what `peers.http.call` raises."""
        return await call(
            self._client_for(link),
            "GET",
            link,
            timeout_seconds=timeout_seconds,
            max_bytes=max_bytes,
            headers=headers,
            before_body=before_body,
        )

    def _client_for(self, link: str) -> httpx.AsyncClient:
        # Read by the client that would call it: two readers may see two hosts in one text.
        try:
            url = httpx.URL(link)
        except (httpx.InvalidURL, TypeError):
            raise LinkError("is not a URL") from None
        if url.scheme not in _PORTS or not _HOST.fullmatch(url.raw_host):
            raise LinkError("is not an http(s) URL")
        place = _place(url)
        own = place == self._own
        safe_enough = place.scheme == "https" or self._own.scheme == "http"
        listed = safe_enough and any(_allows(rule, place) for rule in self._hosts)
        if not own and not listed:
            at = f"{place.scheme}://{place.host[:100]}:{place.port}"
            raise LinkError(
                f"leads to {at}, and base_url to {self._own.scheme}://{self._own.host}:"
                f"{self._own.port}: if it is to be trusted, name it in the provider's"
                f" {self._setting}",
                ErrorCode.MODEL_CONFIG,
            )
        if url.userinfo:
            raise LinkError("has a user before its host")
        return self._named if own or self._private else self._public


def result_links(
    settings: LinkSettings, named: httpx.AsyncClient, public: httpx.AsyncClient
) -> Links:
    """Where a service's images may be fetched from."""
    return Links(
        settings.base_url,
        named,
        public,
        settings.result_hosts,
        setting="result_hosts",
        private=settings.private_links,
    )


def _place(url: httpx.URL) -> _Place:
    return _Place(url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS.get(url.scheme, 0))


def _allows(rule: str, place: _Place) -> bool:
    host, port = host_and_port(rule)
    if place.port != (port or _PORTS[place.scheme]):
        return False
    if host.startswith(_ANY_BELOW):
        return place.host.endswith(host[1:])
    return place.host == host
