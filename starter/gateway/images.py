"""Fresh links to images, for an address that outlives every link: `assetURL` of an outcome."""

import asyncio
import logging
import threading
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.names import erased_key, generation_id, images_prefix
from peers.store import StorageSettings, s3_client
from starter.client import AsyncDuragenClient, NotFoundError
from starter.gateway.problems import ProblemError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

logger = logging.getLogger(__name__)

NO_IMAGE = "no_image"


STORE_SECONDS = 5.0
"""For the store's answer, and for credentials that must be fetched; the caller asks again."""

NOT_NOW = "the image store does not answer; ask again"


class ImageLinks:
    """Links into the store of the settings. Methods raise ProblemError and DuragenError."""

    def __init__(self, storage: StorageSettings | None, client: AsyncDuragenClient) -> None:
        self._storage = storage
        self._client = client
        self._making = threading.Lock()
        self._made: dict[str | None, S3Client] = {}

    async def link(self, workflow_id: str) -> str:
        """A link to the generation's image, that lives for `storage.link_seconds`."""
        key = None
        try:
            status = await self._client.status(workflow_id)
        except NotFoundError:
            if self._storage is None:
                raise
        else:
            image = status["image"]
            if image is None:
                said = f"the generation is {status['state']}, without an image"
                raise ProblemError(404, said, name=NO_IMAGE)
            key = image["key"]
        if self._storage is None:
            raise ProblemError(503, "this gateway has no [storage] in its settings")
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await asyncio.to_thread(self._link, self._storage, workflow_id, key)
        except TimeoutError:
            raise ProblemError(503, NOT_NOW) from None

    def _link(self, storage: StorageSettings, workflow_id: str, key: str | None) -> str:
        """Blocks. Without a key it asks the store: Temporal forgets sooner than that does."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # as boto3

        try:
            return self._client_at(storage, storage.public_endpoint_url).generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": storage.bucket,
                    "Key": key or self._stored(storage, *generation_id(workflow_id)),
                },
                ExpiresIn=storage.link_seconds,
            )
        except (BotoCoreError, ClientError) as error:
            logger.warning("no link to an image: %s", error)
            raise ProblemError(503, NOT_NOW) from None

    def _stored(self, storage: StorageSettings, request_id: UUID, owner: str) -> str:
        prefix = images_prefix(request_id, owner)
        listed = self._client_at(storage, None).list_objects_v2(
            Bucket=storage.bucket, Prefix=prefix
        )
        keys = [each["Key"] for each in listed.get("Contents", [])]
        if not keys or erased_key(request_id, owner) in keys:
            raise NotFoundError("there is no such generation, and no image of one")
        return keys[0]

    def _client_at(self, storage: StorageSettings, endpoint_url: str | None) -> "S3Client":
        with self._making:  # two threads may not make boto3's first client at a time
            if endpoint_url not in self._made:
                self._made[endpoint_url] = s3_client(storage, endpoint_url)
            return self._made[endpoint_url]
