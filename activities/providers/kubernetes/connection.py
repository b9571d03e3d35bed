"""Calls to the Kubernetes API: bounded, with typed errors, and the token goes nowhere else.

The client library makes paths, TLS and headers. Its answers are read here, raw, within a time and
a size. It is slow to import, and so is this module: it is imported where a provider of this kind
is in the settings, and nowhere else.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import httpx
from kubernetes_asyncio.client import ApiClient, Configuration
from pydantic import SecretStr

from activities.errors import ProviderError
from contracts.errors import ErrorCode
from otel.correlation import outgoing_headers
from peers.bodies import ASKED_ENCODING, BodyError, EncodingError, TooLargeError, read_body
from peers.http import Answer

CALL_SECONDS = 30.0
"""A call is a look-up or a short entry: what takes longer is an outage."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Kubernetes keeps no object above 1.5 MiB, ours are a tenth of that, and a Job has one pod."""

NAME = "the Kubernetes API"

_SENDABLE = re.compile(r"[!-~]+")

R = TypeVar("R")


class _RedirectedError(Exception):
    """An answer that points elsewhere."""


class Connection:
    """One API server and one account on it. What can go wrong is a ProviderError.

    Every call of ours can be made again: a reply that was lost costs nothing, for the next try
    finds what the one before has made.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr,
        token_file: Path | None,
        ca_file: Path | None,
        *,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._token = api_key.get_secret_value()
        self._token_file = token_file
        self._call_seconds = call_seconds
        configuration = Configuration(host=base_url.rstrip("/"))
        configuration.ssl_ca_cert = str(ca_file) if ca_file else None
        configuration.connection_pool_maxsize = 0  # no limit: each watch holds a connection
        configuration.api_key["BearerToken"] = ""  # or the hook is never called
        configuration.refresh_api_key_hook = self._put_token
        self.api = ApiClient(configuration)
        # The library's own session follows redirects and believes proxy variables and .netrc.
        session = self.api.rest_client.pool_manager
        self.api.rest_client.pool_manager = aiohttp.ClientSession(
            connector=session.connector, middlewares=[_stay], auto_decompress=False
        )
        session.detach()

    async def close(self) -> None:
        """Close the connections."""
        await self.api.close()

    async def ask(
        self, read: Callable[[Answer], R], call: Callable[..., Awaitable[Any]], *args: Any
    ) -> R:
        """Make the library's `call`, and `read` what is answered."""
        async with (
            self.translated(),
            asyncio.timeout(self._call_seconds),
            await call(*args, _preload_content=False) as response,
        ):
            return read(await answer_of(response))

    @asynccontextmanager
    async def translated(self) -> AsyncIterator[None]:
        """Turn what the transport raises into errors of the taxonomy, without the token."""
        try:
            yield
        except ProviderError as error:
            error.conceal(self._token)
            raise
        except TimeoutError as error:  # also aiohttp's own
            raise _trouble(ErrorCode.PROVIDER_TIMEOUT, "did not answer in time") from error
        except BodyError as error:
            raise _trouble(ErrorCode.INVALID_OUTPUT, str(error)) from error
        except _RedirectedError as error:
            raise _trouble(ErrorCode.MODEL_CONFIG, f"is not at base_url: {error}") from error
        except aiohttp.InvalidURL as error:
            raise _trouble(ErrorCode.MODEL_CONFIG, "cannot be asked: check base_url") from error
        except aiohttp.ClientConnectorError as error:
            raise _trouble(ErrorCode.PROVIDER_UNAVAILABLE, f"cannot be reached: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise _trouble(ErrorCode.PROVIDER_UNAVAILABLE, f"lost the reply: {reason}") from error

    def _put_token(self, configuration: Configuration) -> None:
        # Called before each request. The file is on a tmpfs, and its token changes every hour.
        if self._token_file:
            try:
                self._token = self._token_file.read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                what = f"cannot be asked: {type(error).__name__} reading {self._token_file}"
                raise _trouble(ErrorCode.AUTH_CONFIG, what) from None
            if not _SENDABLE.fullmatch(self._token):
                what = f"cannot be asked: {self._token_file} holds no token"
                raise _trouble(ErrorCode.AUTH_CONFIG, what)
        configuration.api_key["BearerToken"] = f"Bearer {self._token}"


async def answer_of(response: aiohttp.ClientResponse) -> Answer:
    """The whole answer, of an error its beginning. Raises BodyError."""
    headers = httpx.Headers(list(response.headers.items()))
    raw = response.content.iter_any()
    body = await read_body(raw, response.status, headers, MAX_ANSWER_BYTES)
    return Answer(response.status, headers, body)


async def lines_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The answer's lines as they come, without empty ones. Raises BodyError."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise EncodingError("sent a packed watch, which was not asked for")
    begun, size = b"", 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise TooLargeError(f"sent more than {MAX_ANSWER_BYTES} bytes")
        *whole, begun = (begun + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


async def _stay(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    request.headers.update({**ASKED_ENCODING, **outgoing_headers()})
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise _RedirectedError(f"it answered {response.status}")
    return response


def _trouble(code: ErrorCode, what: str) -> ProviderError:
    return ProviderError(code, f"{NAME} {what}")
