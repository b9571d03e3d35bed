"""Fresh links to images, for an address that outlives every link: `assetURL` of an outcome."""

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.names import erased_key, generation_id, images_prefix
from peers.store import StorageSettings, s3_client
from starter.client import AsyncDuragenClient, NotFoundError
from starter.gateway.problems import ProblemError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NO_IMAGE = "no_image"


class ImageLinks:
    """Links into the store of the settings. Methods raise ProblemError and DuragenError."""

    def __init__(self, storage: StorageSettings | None, client: AsyncDuragenClient) -> None:
        self._storage = storage
        self._client = client
        self._s3: dict[str | None, S3Client] = {}

    async def link(self, workflow_id: str) -> str:
        """A link to the generation's image, that lives for `storage.link_seconds`."""
        storage = self._storage
        try:
            status = await self._client.status(workflow_id)
        except NotFoundError:
            if storage is None:
                raise
            # Temporal forgets sooner than the store.
            key = await asyncio.to_thread(self._stored, storage, *generation_id(workflow_id))
        else:
            image = status["image"]
            if image is None:
                said = f"the generation is {status['state']}, without an image"
                raise ProblemError(404, said, name=NO_IMAGE)
            key = image["key"]
        if storage is None:
            raise ProblemError(503, "this gateway has no [storage] in its settings")
        return await asyncio.to_thread(self._presigned, storage, key)

    def _stored(self, storage: StorageSettings, request_id: UUID, owner: str) -> str:
        """The key of the image in the store."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # as boto3

        prefix = images_prefix(request_id, owner)
        try:
            listed = self._of(None).list_objects_v2(Bucket=storage.bucket, Prefix=prefix)
        except (BotoCoreError, ClientError) as error:
            raise ProblemError(503, "the image store does not answer") from error
        keys = [each["Key"] for each in listed.get("Contents", [])]
        if not keys or erased_key(request_id, owner) in keys:
            raise NotFoundError("there is no such generation, and no image of one")
        return keys[0]

    def _presigned(self, storage: StorageSettings, key: str) -> str:
        return self._of(storage.public_endpoint_url).generate_presigned_url(
            "get_object",
            Params={"Bucket": storage.bucket, "Key": key},
            ExpiresIn=storage.link_seconds,
        )

    def _of(self, endpoint_url: str | None) -> "S3Client":
        if endpoint_url not in self._s3 and self._storage:
            self._s3[endpoint_url] = s3_client(self._storage, endpoint_url)
        return self._s3[endpoint_url]
