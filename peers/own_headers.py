"""Headers that an operator wants sent to one peer, such as a key for the proxy before it.

They are added by the HTTP client itself, by address, so that no adapter needs to know of them and
none can send them elsewhere: not with a link, not to a polling URL on another host.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, NamedTuple

import httpx
from pydantic import AfterValidator, SecretStr

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_NOT_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_SECRETS = "duragen.own_headers"


def _sendable(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or name.lower() in _NOT_OURS:
            raise ValueError(f"{name!r} is no header that can be set")
        # An HTTP client refuses anything else, and shows the whole value while it does so.
        if not _VALUE.fullmatch(value.get_secret_value()):
            raise ValueError(f"{name}: must be ASCII without line breaks, and not empty")
    return headers


HeaderTable = Annotated[dict[str, SecretStr], AfterValidator(_sendable)]
"""Names and secret values of the setting `headers`."""


class _Peer(NamedTuple):
    """An address, and what everything at it and below gets."""

    base: httpx.URL
    headers: dict[str, str]

    def has(self, url: httpx.URL) -> bool:
        """Whether a request to `url` is one to this peer."""
        path = self.base.path.rstrip("/")
        same = _origin(url) == _origin(self.base)
        return same and (url.path == path or url.path.startswith(f"{path}/"))


class OwnHeaders:
    """All peers, with what they want; of two addresses that fit, the longer path is meant.

    Raises ValueError when two tables want different headers at one address.
    """

    def __init__(self, wanted: Iterable[tuple[str, Mapping[str, SecretStr]]]) -> None:
        peers: dict[str, _Peer] = {}
        for url, headers in wanted:
            base = httpx.URL(url.partition("?")[0].rstrip("/"))
            peer = _Peer(base, {n: v.get_secret_value() for n, v in headers.items()})
            if peers.setdefault(str(base), peer) != peer:
                raise ValueError(f"two tables want different `headers` sent to {base}")
        self._peers = sorted(peers.values(), key=lambda peer: len(peer.base.path), reverse=True)

    async def add(self, request: httpx.Request) -> None:
        """An httpx hook for requests; what is set here wins over what an adapter sends."""
        for peer in self._peers:
            if peer.headers and peer.has(request.url):
                request.headers.update(peer.headers)
                request.extensions[_SECRETS] = tuple(peer.headers.values())
                return


def without_own_headers(request: httpx.Request, body: bytes) -> bytes:
    """The body of an answer without what `OwnHeaders` has sent: some servers quote headers."""
    for secret in request.extensions.get(_SECRETS, ()):
        body = body.replace(secret.encode(), b"[secret]")
    return body


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port
