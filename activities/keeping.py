"""Bringing paid bytes into safety: into the store, or on the disk until the store takes them."""

import logging

from activities.bucket import ImageId
from activities.errors import ProviderError
from activities.images import wanted_by
from activities.spool import Label, Spool
from activities.storage import ImageStore
from contracts.errors import ErrorCode
from contracts.generation import Spooled, StoredImage
from contracts.tasks import CollectTask, SubmitTask

logger = logging.getLogger(__name__)

LAST_RESORT_SECONDS = 45.0
"""How long an image waits in memory where neither store nor disk takes it."""


class ImageKeeper:
    """Where the images of this process go."""

    def __init__(self, store: ImageStore, spool: Spool) -> None:
        self._store = store
        self._spool = spool

    async def find(
        self, task: SubmitTask | CollectTask, *, seconds: float | None = None
    ) -> StoredImage | Spooled | None:
        """The image of the task's request, if there is one already.

        Raises ProviderError: STORE_UNAVAILABLE when the store is away for longer than `seconds`,
        CONFLICT when it has another request's image under this id.
        """
        wanted = ImageId.of(task)
        if spooled := await self._spool.find(wanted):
            return spooled
        return await self._store.find(wanted, seconds=seconds)

    async def find_before_paying(self, task: SubmitTask) -> StoredImage | Spooled | None:
        """As `find`; and when there is no image, there is room for one.

        Raises ProviderError as `find` does, and with STORE_UNAVAILABLE when the disk has no room.
        """
        wanted = ImageId.of(task)
        spooled, has_room = await self._spool.look(wanted)
        image = spooled or await self._store.find(wanted)
        if image is None and not has_room:
            held = await self._spool.held()
            raise ProviderError(
                ErrorCode.STORE_UNAVAILABLE,
                f"{held.images} images wait for the store in {self._spool.where}: it is full, its"
                " disk is, or it is gone (worker.spool_bytes, spool_dir); nothing is paid for"
                " meanwhile",
            )
        return image

    async def keep(self, task: SubmitTask | CollectTask, data: bytes) -> StoredImage | Spooled:
        """Verify the bytes of a paid image, and keep them.

        Raises ProviderError when they are not the image that was asked for; STORE_UNAVAILABLE when
        nothing takes them.
        """
        wanted, request = ImageId.of(task), task.request
        image = await self._store.verified(wanted, data, wanted_by(task))
        try:
            return await self._store.put(image, wanted, data)
        except ProviderError as error:
            if error.failure.code is not ErrorCode.STORE_UNAVAILABLE:
                raise
            logger.warning("the image goes to the disk: %s", error)
        label = Label(
            request_id=request.request_id,
            correlation_id=request.correlation_id,
            digest=wanted.digest,
            image=image,
            owner=wanted.owner,
        )
        try:
            return await self._spool.keep(label, data)
        except OSError as error:
            # A full disk: the store is the only place that is left.
            logger.error("the image cannot be written to the disk either: %s", error)  # noqa: TRY400  # the reason is enough
            return await self._store.put(
                image, wanted, data, seconds=LAST_RESORT_SECONDS, limit_seconds=LAST_RESORT_SECONDS
            )
