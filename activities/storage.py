"""Images in the store: looked for before a paid call, written once, linked when delivered."""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from itertools import chain, repeat
from typing import TypeVar

from activities.bucket import Bucket, ForeignError, ImageId
from activities.errors import ProviderError
from activities.images import Wanted, check_image
from activities.s3 import StoreError
from contracts.errors import ErrorCode
from contracts.generation import StoredImage
from contracts.names import image_key

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 3.0
"""How long a look-up tries again while the store is away; the workflow looks again later."""

PUT_SECONDS = 3.0
"""The same for an image that is paid for: it is safer on the disk than in memory."""

LOOK_LIMIT_SECONDS = 15.0
"""When a look-up, with all its tries, counts as not answered: the store may take connections and
hang, and then all threads wait."""

PUT_LIMIT_SECONDS = 30.0
"""The same for an image: some megabytes over a slow line. What is paid for is on the disk soon."""

READ_LIMIT_SECONDS = 60.0
"""The same for an image that is fetched."""

_PAUSES = (0.5, 1.0, 2.0, 4.0)


class ImageStore:
    """One bucket of an S3 store, from the loop: calls run in the threads of `calls`.

    What is not the store's work, such as decoding an image, runs in those of `here`. A store that
    is away, or refuses, is ProviderError with STORE_UNAVAILABLE.
    """

    def __init__(
        self,
        bucket: Bucket,
        calls: Executor,
        here: Executor,
        *,
        look_seconds: float = LOOK_SECONDS,
        put_seconds: float = PUT_SECONDS,
        look_limit_seconds: float = LOOK_LIMIT_SECONDS,
        put_limit_seconds: float = PUT_LIMIT_SECONDS,
    ) -> None:
        self._bucket = bucket
        self._calls = calls
        self._here = here
        self._look_seconds = look_seconds
        self._put_seconds = put_seconds
        self._look_limit = look_limit_seconds
        self._put_limit = put_limit_seconds

    @property
    def bucket(self) -> str:
        """Its name."""
        return self._bucket.name

    async def find(self, wanted: ImageId, *, seconds: float | None = None) -> StoredImage | None:
        """The request's image if it is in the store; waits for the store so long.

        Raises ProviderError with CONFLICT when the image there is another request's.
        """
        patience = self._look_seconds if seconds is None else seconds
        return await self._patiently(lambda: self._bucket.find(wanted), patience, self._look_limit)

    async def verified(self, wanted: ImageId, data: bytes, asked: Wanted) -> StoredImage:
        """What `data` is, and where it will be.

        Raises ProviderError when it is not the image that was asked for: see `check_image`.
        """
        return await in_thread(self._here, lambda: _verified(wanted, data, asked))

    async def put(
        self,
        image: StoredImage,
        wanted: ImageId,
        data: bytes,
        *,
        seconds: float | None = None,
        limit_seconds: float | None = None,
    ) -> StoredImage:
        """Write a verified image unless one of this request is there, and refer to it.

        The first image of a request wins: a second writer gets a reference to the first one's.
        While the store is away it is tried for `seconds`; after `limit_seconds` in all it is given
        up. What is given up may still come into the store, unless its generation was erased.
        """
        patience = self._put_seconds if seconds is None else seconds
        limit = self._put_limit if limit_seconds is None else limit_seconds
        given_up = threading.Event()

        def operation() -> StoredImage:
            try:
                return self._bucket.put(image, wanted, data)
            finally:
                # Nobody waits for it, and nobody else looks: its generation may be erased by now.
                if given_up.is_set():
                    _taken_back(self._bucket, image, wanted)

        try:
            return await self._patiently(operation, patience, limit)
        except BaseException:
            given_up.set()
            raise

    async def read(self, key: str, max_bytes: int) -> bytes | None:
        """An object that somebody else put there, None when there is none.

        Raises ProviderError with INVALID_OUTPUT when it is larger than `max_bytes`.
        """
        try:
            return await self._patiently(
                lambda: self._bucket.read(key, max_bytes), self._look_seconds, READ_LIMIT_SECONDS
            )
        except ValueError as error:
            raise ProviderError(ErrorCode.INVALID_OUTPUT, str(error)) from None

    async def taken_back(self, image: StoredImage, wanted: ImageId) -> bool:
        """Whether all of its generation was to be deleted; this very image is not here then."""
        return await self._patiently(
            lambda: self._bucket.taken_back(image, wanted), 0, self._look_limit
        )

    async def remove(self, key: str) -> None:
        """Delete an object, best effort: what is left is logged, and does no harm."""
        try:
            async with asyncio.timeout(self._look_limit):
                await in_thread(self._calls, lambda: self._bucket.remove(key))
        except (StoreError, TimeoutError) as error:
            reason = str(error) or "no answer"
            logger.warning("s3://%s/%s is left there: %s", self.bucket, key, reason)

    async def link(self, image: StoredImage) -> str:
        """A presigned link to the image. It is a secret for as long as it lives: never store it.

        With keys of one's own it is computed, so it waits neither for the store nor for a thread.
        Raises ProviderError when other keys cannot be had.
        """
        if self._bucket.own_keys:
            return self._bucket.link(image.key)
        return await self._patiently(lambda: self._bucket.link(image.key), 0, self._look_limit)

    async def _patiently(self, operation: Callable[[], T], seconds: float, limit: float) -> T:
        """Try again for `seconds`; after `limit` seconds it has not answered.

        A call that nobody waits for any more ends by boto3's own timeout; one that waits for a
        thread is not made.
        """
        try:
            async with asyncio.timeout(limit):
                return await self._tried(operation, seconds)
        except TimeoutError:
            detail = f"the store (bucket {self.bucket}) has not answered within {limit:g} s"
            raise ProviderError(ErrorCode.STORE_UNAVAILABLE, detail) from None

    async def _tried(self, operation: Callable[[], T], seconds: float) -> T:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + seconds
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while True:
            try:
                return await in_thread(self._calls, operation)
            except ForeignError as error:
                code = ErrorCode.CONFLICT if error.ours else ErrorCode.INTERNAL
                raise ProviderError(code, str(error), final=True) from None
            except StoreError as error:
                pause = next(pauses)
                if not error.passing or loop.time() + pause > give_up:
                    raise ProviderError(ErrorCode.STORE_UNAVAILABLE, str(error)) from None
                logger.warning("store away, trying again in %s s: %s", pause, error)
                await asyncio.sleep(pause)


async def in_thread(executor: Executor, operation: Callable[[], T]) -> T:
    """What blocks, with the ids that its log lines and calls shall have."""
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(
        executor, lambda: context.run(operation)
    )


def _taken_back(bucket: Bucket, image: StoredImage, wanted: ImageId) -> None:
    try:
        if bucket.taken_back(image, wanted):
            logger.warning(
                "s3://%s/%s came late: its generation was erased", bucket.name, image.key
            )
    except StoreError as error:
        logger.warning("s3://%s/%s may be of an erased one: %s", bucket.name, image.key, error)


def _verified(wanted: ImageId, data: bytes, asked: Wanted) -> StoredImage:
    width, height = check_image(data, asked)
    return StoredImage(
        key=image_key(wanted.request_id, wanted.format, wanted.owner),
        format=wanted.format,
        size=len(data),
        width=width,
        height=height,
        sha256=hashlib.sha256(data).hexdigest(),
    )
