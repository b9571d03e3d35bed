"""The images in one bucket of any S3 store. All of it blocks.

StoreError            the store did not do what was asked; `passing` says that it may do so later
    ForeignError      an object stands under our key that is not ours, or is another request's
"""

import threading
import time
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid4

from activities.s3 import CHECK_PREFIX, S3Bucket, StoreError
from activities.store_ways import CHECK, Ways, found_out
from contracts.generation import StoredImage
from contracts.names import (
    IMAGES_PREFIX,
    JOBS_PREFIX,
    GenerationId,
    distinct_image_key,
    erased_key,
    image_key,
    images_prefix,
    job_prefix,
)
from contracts.tasks import CollectTask, FindTask, SubmitTask

LEARNING_SECONDS = 3.0
"""How long a call waits while another one finds out the store's ways: it may hang."""

SURE_SECONDS = 60.0
"""So long it is believed that we may read, where what is missing is forbidden as well."""


class ForeignError(StoreError):
    """What stands there is not this request's; `ours` when Duragen wrote it for another one."""

    def __init__(self, detail: str, *, ours: bool) -> None:
        super().__init__(detail, status=200)
        self.ours = ours


class ImageId(NamedTuple):
    """Whose image: the request, what makes its image (`image_digest`), the format, the owner."""

    request_id: UUID
    digest: str
    format: str
    owner: str = ""

    @classmethod
    def of(cls, task: SubmitTask | CollectTask | FindTask) -> Self:
        """The image that a task is about."""
        request = task.request
        return cls(request.request_id, request.image_digest, task.route.image_format, task.owner)


class Bucket:
    """Each call is made once. Every method raises StoreError.

    Nothing is looked up or written before the store's ways are known, so that no money is spent on
    an image that it will not take: some small calls, once a process. `linking` is the same bucket
    at the address that links are for. `own_keys`: its keys do not end, so that links ask nobody.
    """

    def __init__(
        self,
        s3: S3Bucket,
        known: Ways,
        *,
        link_seconds: int,
        linking: S3Bucket | None = None,
        own_keys: bool = False,
    ) -> None:
        self._s3 = s3
        self._linking = linking or s3
        self._link_seconds = link_seconds
        self.own_keys = own_keys
        self._known = known
        self._ways: Ways | None = None
        self._sure_until = 0.0
        """Until then a look-up that is forbidden means that nothing is there."""
        self._learning = threading.Lock()

    @property
    def name(self) -> str:
        """The bucket's."""
        return self._s3.name

    def ways(self) -> Ways:
        """All of them known: from before, or found out now."""
        if self._ways is None:
            if not self._learning.acquire(timeout=LEARNING_SECONDS):
                raise StoreError(f"the store (bucket {self.name}) does not answer")
            try:
                if self._ways is None:
                    self._ways = found_out(self._s3, self._known)
                    self._sure_until = time.monotonic() + SURE_SECONDS
            finally:
                self._learning.release()
        return self._ways

    def find(self, wanted: ImageId) -> StoredImage | None:
        """The request's image, if it is here already. Raises ForeignError."""
        if self.ways().conditional:
            key = image_key(wanted.request_id, wanted.format, wanted.owner)
            return self._image(key, wanted)
        listed = self._s3.keys(images_prefix(wanted.request_id, wanted.owner))
        keys = [key for key in listed if key.endswith(f".{wanted.format}")]
        return self._image(keys[0], wanted) if keys else None

    def put(self, image: StoredImage, wanted: ImageId, data: bytes) -> StoredImage:
        """Write the image unless one of this request is here; what stands here then.

        The first image of a request wins, whoever writes at the same time.
        """
        ways = self.ways()
        if not ways.conditional:
            # Times of objects may be whole seconds: who comes later must not need them.
            if first := self.find(wanted):
                return first
            image = image.model_copy(update={"key": _distinct(image, wanted)})
        facts = {
            "format": image.format,
            "width": str(image.width),
            "height": str(image.height),
            "sha256": image.sha256,
            "request": wanted.digest,
        }
        kind = f"image/{image.format}"
        try:
            self._write(
                image.key, data, ways, sha256=image.sha256, ContentType=kind, Metadata=facts
            )
        except StoreError as error:
            # 412: it is there already. 409: another writer is at it (S3); look again.
            first = self.find(wanted) if error.status in {409, 412} else None
            if first is None:
                raise
            return first
        return image if ways.conditional else self.find(wanted) or image

    def read(self, key: str, max_bytes: int) -> bytes | None:
        """An object, None when there is none. Raises ValueError when it is larger than that."""
        try:
            return self._s3.get(key, max_bytes)
        except StoreError as error:
            # With a fix, the bucket is missing.
            if (error.status == 404 and not error.fix) or self._hidden(error):
                return None
            raise

    def remove(self, key: str) -> None:
        """Delete an object."""
        self._s3.delete(key)

    def owners(self) -> list[str]:
        """All that have, or had, an image here, beside ""; takes a request a thousand images."""
        return self._s3.folders(IMAGES_PREFIX)

    def images_of(self, generation: GenerationId) -> list[str]:
        """The keys of a generation's images."""
        found = self._s3.keys(images_prefix(*generation))
        return [key for key in found if key != erased_key(*generation)]

    def objects_of(self, generation: GenerationId) -> list[str]:
        """The keys of all that is kept of a generation: its images, and what its Jobs left.

        Jobs' keys have no owner: what a Job of the same requestId left for another owner is here,
        too. It would be fetched within seconds, and a rule of the bucket deletes it anyway.
        """
        return [*self.images_of(generation), *self._s3.keys(_jobs(generation))]

    def erase(self, generation: GenerationId) -> list[str]:
        """Delete all that is kept of a generation, old versions too; what was deleted.

        A worker that still has an image of it on its disk deletes that as well: see `taken_back`.
        """
        # First, so that nothing comes after the deletion.
        self._s3.put(erased_key(*generation), b"", conditional=False, checksums=self._checksums())
        removed = self.objects_of(generation)
        for key in removed:
            self._s3.delete(key)
        for key, version in self.old_versions(generation):
            self._s3.delete(key, version)
            removed.append(f"{key} (version {version})")
        return removed

    def old_versions(self, generation: GenerationId) -> list[tuple[str, str]]:
        """What a bucket with versions keeps of a generation; none where the store knows none."""
        found = [*self._versions(images_prefix(*generation)), *self._versions(_jobs(generation))]
        return [(key, version) for key, version in found if key != erased_key(*generation)]

    def taken_back(self, image: StoredImage, wanted: ImageId) -> bool:
        """Whether all of its generation was to be deleted; this very image is not here then.

        `erase` leaves its mark first and lists then: when an image was put, either that list has
        it, or the mark is seen here.
        """
        if not self._erased(GenerationId(wanted.request_id, wanted.owner)):
            return False
        key = image.key if self.ways().conditional else _distinct(image, wanted)
        try:
            _, facts = self._s3.head(key)
        except StoreError as error:
            if error.status == 404 or self._hidden(error):
                return True
            raise
        if facts.get("sha256") == image.sha256:
            old = self._versions(key)
            for _, version in old:
                self._s3.delete(key, version)
            if not old:
                self._s3.delete(key)
        return True

    def _erased(self, generation: GenerationId) -> bool:
        try:
            self._s3.head(erased_key(*generation))
        except StoreError as error:
            if error.status == 404 or self._hidden(error):
                return False
            raise
        return True

    def _versions(self, prefix: str) -> list[tuple[str, str]]:
        try:
            return self._s3.versions(prefix)
        except StoreError as error:
            if error.status in {400, 404, 405, 501}:
                return []
            raise

    def _checksums(self) -> bool:
        return bool(self.ways().checksums)

    def link(self, key: str) -> str:
        """A presigned link. A secret for as long as it lives: never store it.

        Asks nobody with `own_keys`; others may have to be renewed.
        """
        return self._linking.link(key, self._link_seconds)

    def leave_check(self) -> str:
        """Write a small object, as an image is written; its key."""
        key = f"{CHECK_PREFIX}{uuid4()}"
        self._write(key, CHECK, self.ways())
        return key

    def _write(self, key: str, data: bytes, ways: Ways, **more: Any) -> None:
        conditional, checksums = bool(ways.conditional), bool(ways.checksums)
        self._s3.put(key, data, conditional=conditional, checksums=checksums, **more)

    def _hidden(self, error: StoreError) -> bool:
        """Whether the 403 means that nothing is there.

        It would also be the answer to a key that was taken from us, and then images that are there
        would be paid for again: so it is proven again from time to time. Raises StoreError.
        """
        if error.status != 403 or not self.ways().hides_missing:
            return False
        if time.monotonic() >= self._sure_until:
            self._ways = found_out(self._s3, self.ways()._replace(hides_missing=None))
            self._sure_until = time.monotonic() + SURE_SECONDS
        return bool(self._ways and self._ways.hides_missing)

    def _image(self, key: str, wanted: ImageId) -> StoredImage | None:
        try:
            size, facts = self._s3.head(key)
        except StoreError as error:
            if error.status == 404 or self._hidden(error):
                return None
            raise
        try:
            found = StoredImage(
                key=key,
                format=facts["format"],
                size=size,
                width=int(facts["width"]),
                height=int(facts["height"]),
                sha256=facts["sha256"],
            )
            digest = facts["request"]
        except (KeyError, ValueError) as error:
            raise ForeignError(
                f"s3://{self.name}/{key} does not say whose image it is: move it away and rerun",
                ours=False,
            ) from error
        if digest != wanted.digest:
            raise ForeignError(
                f"s3://{self.name}/{key} is the image of another request with the same requestId:"
                " send this one under an id of its own",
                ours=True,
            )
        return found


def _distinct(image: StoredImage, wanted: ImageId) -> str:
    return distinct_image_key(wanted.request_id, wanted.format, image.sha256, wanted.owner)


def _jobs(generation: GenerationId) -> str:
    return f"{JOBS_PREFIX}{job_prefix(generation.request_id)}"
