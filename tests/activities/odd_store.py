"""An S3 store in memory that differs from Amazon's as real ones do.

Sources: Backblaze B2 refuses `x-amz-checksum-sha256` (iterate-ch/cyberduck#16107), Alibaba OSS
answers 501 to `If-None-Match` (tobi/walgit#67), older servers ignore it, some take host-style
addresses alone (treeverse/lakeFS#3613), a policy may hide what is missing (aws/aws-cli#1689) or
demand an encryption header (rancher/backup-restore-operator#176).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from deploy.local.stack.config import BUCKET
from tests.activities.http_peer import Peer, Received, listening

ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


class Object(NamedTuple):
    """One object; `at` counts the writes of the store."""

    data: bytes
    metadata: dict[str, str]
    at: int


@dataclass
class OddStore:
    """What it does differently, and what it holds."""

    refuses_checksums: bool = False
    condition: str = "kept"
    """`kept`, `refused` (501) or `ignored`."""
    hides_missing: bool = False
    wants_encryption: bool = False
    host_style_alone: bool = False
    may_list: bool = True
    may_read: bool = True
    forbidden: str = ""
    """Nothing whose key begins so may be read."""
    refuses_writes: bool = False
    says_when: bool = True
    """Whether its lists have `LastModified`."""
    meanwhile: Callable[[str], Awaitable[None]] | None = None
    """What happens while an image comes, by its key; only then it is there."""
    refused: set[str] = field(default_factory=set)
    """Requests whose images it does not take."""
    objects: dict[str, Object] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    writes: int = 0

    @property
    def images(self) -> dict[str, bytes]:
        """What is kept in the end, by key."""
        return {key: each.data for key, each in self.objects.items()}

    async def __call__(
        self, received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        if self.meanwhile and received.method == "PUT" and received.body:
            await self.meanwhile(self._key(received))
        status, headers, body = self._answer(received)
        sent = b"" if received.method == "HEAD" else body
        fields = {"content-length": str(len(body)), "connection": "close", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + sent)
        await writer.drain()

    def _answer(self, received: Received) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(received.path)
        key = self._key(received)
        self.requests.append(f"{received.method} {key}".strip())
        if self.host_style_alone and received.path.startswith(f"/{BUCKET}"):
            return _error(403, "SecondLevelDomainForbidden", "use the host style")
        if received.method == "PUT":
            return self._put(key, received)
        if received.method == "DELETE":
            self.objects.pop(key, None)
            return 204, {}, b""
        if not key and received.method == "HEAD":
            return (200 if self.may_list else 403), {}, b""
        if not key or "list-type" in url.query:
            return self._list(url.query)
        return self._get(key)

    def _key(self, received: Received) -> str:
        path = unquote(urlsplit(received.path).path)
        return path.removeprefix(f"/{BUCKET}").removeprefix("/")

    def _put(self, key: str, received: Received) -> tuple[int, dict[str, str], bytes]:
        headers = received.headers
        if self.refuses_checksums and "x-amz-checksum-sha256" in headers:
            return _error(
                400,
                "InvalidArgument",
                "Unsupported header 'x-amz-checksum-sha256' received for this API call.",
            )
        if self.condition == "refused" and "if-none-match" in headers:
            return _error(501, "NotImplemented", "A header you provided is not implemented")
        if self.wants_encryption and "x-amz-server-side-encryption" not in headers:
            return _error(403, "AccessDenied", "explicit deny")
        if self.refuses_writes or any(each in key for each in self.refused):
            return _error(403, "AccessDenied", "Access Denied")
        if key in self.objects and self.condition == "kept" and "if-none-match" in headers:
            return _error(412, "PreconditionFailed", "it is there")
        start = "x-amz-meta-"
        metadata = {name: value for name, value in headers.items() if name.startswith(start)}
        self.writes += 1
        self.objects[key] = Object(received.body, metadata, self.writes)
        return 200, {}, b""

    def _get(self, key: str) -> tuple[int, dict[str, str], bytes]:
        found = self.objects.get(key)
        if self.forbidden and key.startswith(self.forbidden):
            return _error(403, "AccessDenied", "Access Denied")
        if not self.may_read or (found is None and self.hides_missing):
            return _error(403, "AccessDenied", "Access Denied")
        if found is None:
            return _error(404, "NoSuchKey", "no such key")
        return 200, found.metadata, found.data

    def _list(self, query: str) -> tuple[int, dict[str, str], bytes]:
        if not self.may_list:
            return _error(403, "AccessDenied", "Access Denied")
        prefix = next(
            (unquote(each[7:]) for each in query.split("&") if each.startswith("prefix=")), ""
        )
        rows = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(each.data)}</Size>{self._when(each)}</Contents>"
            for key, each in self.objects.items()
            if key.startswith(prefix)
        )
        return 200, {}, f"<ListBucketResult>{rows}</ListBucketResult>".encode()

    def _when(self, found: Object) -> str:
        if not self.says_when:
            return ""
        at = f"2026-01-01T00:{found.at // 60:02}:{found.at % 60:02}Z"
        return f"<LastModified>{at}</LastModified>"


def _error(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    return status, {}, ERROR.format(code=code, message=message).encode()


@asynccontextmanager
async def odd_store(store: OddStore) -> AsyncIterator[Peer]:
    """It listens."""
    async with listening() as peer:
        peer.says(store)
        yield peer
