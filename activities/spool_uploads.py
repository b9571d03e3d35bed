"""The spool's own queue: images go to the store, the oldest first; their workflows hear of it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.bucket import ImageId
from activities.errors import ProviderError
from activities.spool import Label, Spool, SpoolError, named_by
from activities.storage import ImageStore
from contracts.errors import ErrorCode
from contracts.generation import Failure, StoredImage
from contracts.names import (
    FIND_STORED_ACTIVITY,
    SPOOL_NEWS_SIGNAL,
    workflow_id,
)
from contracts.tasks import FindTask, Found, SpoolNews
from otel.correlation import Correlation, bound

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the folder is looked at: also for what other processes leave there."""

LONGEST_PAUSE_SECONDS = 10.0
"""Between two rounds while the store takes nothing: the pause doubles up to it."""

UPLOAD_SECONDS = 120.0
"""For one image: nobody waits for it, and a line may be slow."""

FEW = 3
"""So many files that the store does not take end a round: it is not one image's fault."""

SIGNAL_SECONDS = 10.0
"""For one word to a workflow."""


class SpoolUploads:
    """Uploads what is in a spool. A file is deleted when its workflow knows of its image."""

    def __init__(
        self, spool: Spool, store: ImageStore, *, signal_seconds: float = SIGNAL_SECONDS
    ) -> None:
        self._spool = spool
        self._store = store
        self._signal_timeout = timedelta(seconds=signal_seconds)
        self._refused: dict[Path, int] = {}
        """What the store did not take before, and in which try: it comes after what is new, the one
        that was tried the longest ago first, so that none holds another up."""
        self._tries = 0

    @asynccontextmanager
    async def running(self, client: Client) -> AsyncIterator[None]:
        """Upload while the block runs."""
        task = asyncio.create_task(self._upload_on(client))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def emptied(self) -> None:
        """Wait until nothing is left, as a worker that leaves does."""
        while (await self._spool.held()).images:  # noqa: ASYNC110  # others take files away, too
            await asyncio.sleep(LOOK_SECONDS / 4)

    async def _upload_on(self, client: Client) -> None:
        pause = LOOK_SECONDS
        while True:
            try:
                taken = await self.upload_all(client)
            except Exception:
                logger.exception("the spool was not looked through")
                taken = False
            pause = LOOK_SECONDS if taken else min(2 * pause, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def upload_all(self, client: Client) -> bool:
        """Try the files, the oldest first; False when not all of them were taken.

        An outage costs a few tries, however many files there are.
        """
        paths, failures = await self._spool.paths(), 0
        self._refused = {path: self._refused[path] for path in paths if path in self._refused}
        for path in sorted(paths, key=lambda each: self._refused.get(each, 0)):
            try:
                taken = await self._upload(client, path)
            except (RPCError, RuntimeError) as error:  # the latter: it could never be reached
                logger.warning("Temporal cannot be reached, %s waits: %s", path.name, error)
                return False
            except OSError as error:  # such as a network volume's, or too many open files
                logger.warning("%s cannot be read or moved now: %s", path, error)
                taken = False
            if not taken:
                self._tries += 1
                self._refused[path] = self._tries
                failures += 1
            if failures == FEW:
                break
        return not failures

    async def _upload(self, client: Client, path: Path) -> bool:
        """Store one image; False when the store does not take it now."""
        try:
            found = await self._spool.read(path)
        except SpoolError as error:
            await self._lost(client, path, str(error))
            return True
        if found is None:
            return True
        label, data = found
        with bound(Correlation(label.correlation_id, label.request_id)):
            try:
                image = await self._stored(label, data)
            except ProviderError as error:
                if error.failure.code is ErrorCode.STORE_UNAVAILABLE:
                    logger.warning("%s still waits: %s", path.name, error)
                    return False
                await self._lost(client, path, str(error), error.failure.code)
                return True
            if image is None:
                await self._spool.remove(path)
                logger.warning("%s is deleted: its generation was erased", path.name)
                return True
            news = SpoolNews(image=image, sha256=label.image.sha256)
            await self._tell(client, workflow_id(label.request_id, label.owner), news)
            await self._spool.remove(path)
            logger.info("%s is in the store: %s", path.name, image.key)
        return True

    async def _stored(self, label: Label, data: bytes) -> StoredImage | None:
        """Where it is; None when its generation was erased. Raises ProviderError."""
        if await self._store.taken_back(label.image, label.wanted):
            return None
        image = await self._store.put(
            label.image, label.wanted, data, seconds=0, limit_seconds=UPLOAD_SECONDS
        )
        # Again: `duragen erase` may have come between.
        return None if await self._store.taken_back(label.image, label.wanted) else image

    async def _lost(
        self,
        client: Client,
        path: Path,
        why: str,
        code: ErrorCode = ErrorCode.STORE_UNAVAILABLE,
    ) -> None:
        """Say so; the file is put aside, where a person may look at it."""
        logger.error("an image that is paid for is lost: %s", why)
        failure = Failure(code=code, detail=why, perhaps_paid=1)
        if known := named_by(path):
            news = SpoolNews(failure=failure, sha256=known.sha256)
            await self._tell(client, workflow_id(known.request_id, known.owner), news)
        await self._spool.put_aside(path)

    async def _tell(self, client: Client, whose: str, news: SpoolNews) -> None:
        """Signal the workflow; one that has ended needs nothing more. Raises RPCError."""
        handle = client.get_workflow_handle(whose)
        try:
            await handle.signal(SPOOL_NEWS_SIGNAL, news, rpc_timeout=self._signal_timeout)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


class StoredActivities:
    """Looking whether an image has reached the store, in case that its worker cannot say so."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    @activity.defn(name=FIND_STORED_ACTIVITY)
    async def find_stored(self, task: FindTask) -> Found:
        """Look once. Raises ApplicationError whose type is an ErrorCode."""
        try:
            return Found(image=await self._store.find(ImageId.of(task)))
        except ProviderError as error:
            raise error.to_application_error() from None
