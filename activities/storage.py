"""Images in any S3 store: looked for before a paid call, written once, linked when delivered."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import closing
from contextvars import copy_context
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from activities.errors import ProviderError
from activities.images import CONTENT_TYPES, Wanted, check_image
from contracts.errors import ErrorCode
from contracts.generation import CollectTask, StoredImage, SubmitTask
from contracts.names import CORRELATION_HEADER, image_key
from otel import correlation

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""How long a store that is away is waited for: a paid image is in memory and nowhere else."""

_PAUSES = (0.5, 1.0, 2.0, 4.0)


class ImageStore:
    """One bucket of an S3 store.

    Calls run in `executor`'s threads, so that the loop stays free for the sockets. A store that is
    away is waited for up to `patience_seconds`; then ProviderError with INTERNAL.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        link_seconds: int,
        executor: Executor,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._link_seconds = link_seconds
        self._executor = executor
        self._patience_seconds = patience_seconds
        # Not before it is signed: a link would then be good only with the header.
        client.meta.events.register("before-send.s3", _correlate)

    @property
    def bucket(self) -> str:
        """Its name."""
        return self._bucket

    async def find(self, request_id: UUID, image_format: str) -> StoredImage | None:
        """The request's image if it is in the store already."""
        return await self._patiently(lambda: self._head(image_key(request_id, image_format)))

    async def keep(self, request_id: UUID, data: bytes, wanted: Wanted) -> StoredImage:
        """Verify `data`, write it unless an image of this request is there, and refer to it.

        The first image of a request wins: a second writer gets a reference to the first one's.
        Raises ProviderError when `data` is not the image that was asked for: see `check_image`.
        """
        image = await self._in_thread(lambda: _verified(request_id, data, wanted))
        return await self._patiently(lambda: self._put(image, data))

    async def keep_for(self, task: SubmitTask | CollectTask, data: bytes) -> StoredImage:
        """The same for what the task's request and route ask for."""
        request, route = task.request, task.route
        ratio = request.ratio if route.size_by == "aspect_ratio" else None
        wanted = Wanted(route.image_format, request.size, route.size_tolerance_percent, ratio)
        return await self.keep(request.request_id, data, wanted)

    async def read(self, key: str, max_bytes: int) -> bytes | None:
        """An object that somebody else put there, None when there is none.

        Raises ProviderError with INVALID_OUTPUT when it is larger than `max_bytes`.
        """
        return await self._patiently(lambda: self._get(key, max_bytes))

    async def remove(self, key: str) -> None:
        """Delete an object, best effort: what is left is logged, and does no harm."""
        try:
            await self._in_thread(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))
        except (BotoCoreError, ClientError) as error:
            logger.warning("s3://%s/%s is left there: %s", self._bucket, key, error)

    async def link(self, image: StoredImage) -> str:
        """A presigned link to the image. It is a secret for as long as it lives: never store it."""
        return await self._in_thread(
            lambda: self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": image.key},
                ExpiresIn=self._link_seconds,
            )
        )

    def _head(self, key: str) -> StoredImage | None:
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise
        facts = head["Metadata"]
        try:
            return StoredImage(
                key=key,
                format=facts["format"],
                size=head["ContentLength"],
                width=int(facts["width"]),
                height=int(facts["height"]),
                sha256=facts["sha256"],
            )
        except (KeyError, ValueError) as error:
            raise ProviderError(
                ErrorCode.INTERNAL,
                f"s3://{self._bucket}/{key} was not written by Duragen: move it away and rerun",
            ) from error

    def _get(self, key: str, max_bytes: int) -> bytes | None:
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise
        with closing(found["Body"]) as body:
            # Before it is read: a mistake of gigabytes must not come into memory.
            if found["ContentLength"] > max_bytes:
                raise ProviderError(
                    ErrorCode.INVALID_OUTPUT,
                    f"s3://{self._bucket}/{key} has {found['ContentLength']} bytes,"
                    f" at most {max_bytes} are taken",
                )
            return body.read()

    def _put(self, image: StoredImage, data: bytes) -> StoredImage:
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=image.key,
                Body=data,
                ContentType=CONTENT_TYPES[image.format],
                ChecksumSHA256=base64.b64encode(bytes.fromhex(image.sha256)).decode(),
                IfNoneMatch="*",
                Metadata={
                    "format": image.format,
                    "width": str(image.width),
                    "height": str(image.height),
                    "sha256": image.sha256,
                },
            )
        except ClientError as error:
            # 412: it is there already. 409: another writer is at it (S3); look again.
            first = self._head(image.key) if _status(error) in {409, 412} else None
            if first is None:
                raise
            return first
        return image

    async def _patiently(self, operation: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience_seconds
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while True:
            try:
                return await self._in_thread(operation)
            except (BotoCoreError, ClientError) as error:
                pause = next(pauses)
                if not _passing(error) or loop.time() + pause > give_up:
                    detail = f"the store (bucket {self._bucket}) failed: {error}"
                    raise ProviderError(ErrorCode.INTERNAL, detail) from error
                logger.warning("store away, trying again in %s s: %s", pause, error)
                await asyncio.sleep(pause)

    async def _in_thread(self, operation: Callable[[], T]) -> T:
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: context.run(operation)
        )


def _verified(request_id: UUID, data: bytes, wanted: Wanted) -> StoredImage:
    width, height = check_image(data, wanted)
    return StoredImage(
        key=image_key(request_id, wanted.image_format),
        format=wanted.image_format,
        size=len(data),
        width=width,
        height=height,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _correlate(request: Any, **_: Any) -> None:
    bound = correlation.current()
    if bound:
        request.headers[CORRELATION_HEADER] = str(bound.correlation_id)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _passing(error: Exception) -> bool:
    # No answer at all, throttling and 5xx pass, and so does a race with another writer (409, 412)
    # that left no image; a refusal (key, bucket, checksum) does not.
    passing = {409, 412, 429, 500, 502, 503, 504}
    return not isinstance(error, ClientError) or _status(error) in passing
