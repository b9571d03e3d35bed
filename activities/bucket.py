"""One bucket of any S3 store: what each store does differently is found out, or set. All blocks.

StoreError            the store did not do what was asked; `passing` says that it may do so later
    ForeignError      an object stands under our key that is not ours, or is another request's
"""

import base64
import hashlib
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import UUID, uuid4

from botocore.exceptions import BotoCoreError, ClientError

from contracts.generation import CollectTask, FindTask, StoredImage, SubmitTask
from contracts.names import (
    CORRELATION_HEADER,
    IMAGES_PREFIX,
    distinct_image_key,
    image_key,
)
from otel import correlation

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CHECK_PREFIX = f"{IMAGES_PREFIX}check-"
"""Small objects by which a store's ways are found out; each is deleted again."""

CHECK = b"duragen"
"""What is in them."""


class StoreError(Exception):
    """The store did not do it; the text names the bucket, and `fix`: what to do, where known."""

    def __init__(self, detail: str, *, passing: bool, fix: str = "") -> None:
        super().__init__(f"{detail}; {fix}" if fix else detail)
        self.detail = detail
        self.passing = passing
        self.fix = fix


class ForeignError(StoreError):
    """What stands there is not this request's; `ours` when Duragen wrote it for another one."""

    def __init__(self, detail: str, *, ours: bool) -> None:
        super().__init__(detail, passing=False)
        self.ours = ours


class ImageId(NamedTuple):
    """Whose image: the request, what makes its image (`image_digest`), and the format."""

    request_id: UUID
    digest: str
    format: str

    @classmethod
    def of(cls, task: SubmitTask | CollectTask | FindTask) -> Self:
        """The image that a task is about."""
        request = task.request
        return cls(request.request_id, request.image_digest, task.route.image_format)


class Ways(NamedTuple):
    """What a store does differently from Amazon's; None is not known yet.

    `checksums`: it takes `x-amz-checksum-sha256`; else Content-MD5 is sent. `conditional`: it
    refuses a second object under the same key; else each image has a key that no other one has.
    `hides_missing`: it answers 403 to a look-up of what is not there: no right to list.
    """

    checksums: bool | None = None
    conditional: bool | None = None
    hides_missing: bool | None = None


class Bucket:
    """Blocking calls to one bucket; each is made once. Every method raises StoreError.

    Nothing is looked up or written before its ways are known, so that no money is spent on an image
    that it will not take: three small calls, once a process. `known` are ways that are set.
    """

    def __init__(
        self,
        client: "S3Client",
        name: str,
        *,
        linking: "S3Client | None" = None,
        link_seconds: int = 3_600,
        encryption: Mapping[str, str] | None = None,
        known: Ways = Ways(),  # noqa: B008  # immutable
    ) -> None:
        self._client = client
        self._linking = linking or client
        self.name = name
        self._link_seconds = link_seconds
        self._encryption = dict(encryption or {})
        self._known = known
        self._ways: Ways | None = None
        self._learning = threading.Lock()
        # Not before it is signed: a link would then be good only with the header.
        client.meta.events.register("before-send.s3", _correlate)

    def ways(self) -> Ways:
        """All of them known: from before, or found out now by small objects."""
        with self._learning:
            if self._ways is None:
                self._ways = self._known if None not in self._known else self._learned()
            return self._ways

    def find(self, wanted: ImageId) -> StoredImage | None:
        """The request's image, if it is here already. Raises ForeignError."""
        if self.ways().conditional:
            return self._image(image_key(wanted.request_id, wanted.format), wanted)
        keys = self._keys(wanted)
        return self._image(keys[0], wanted) if keys else None

    def put(self, image: StoredImage, wanted: ImageId, data: bytes) -> StoredImage:
        """Write the image unless one of this request is here; what stands here then.

        The first image of a request wins, whoever writes at the same time.
        """
        conditional = bool(self.ways().conditional)
        if not conditional:
            key = distinct_image_key(wanted.request_id, wanted.format, image.sha256)
            image = image.model_copy(update={"key": key})
        facts = {
            "format": image.format,
            "width": str(image.width),
            "height": str(image.height),
            "sha256": image.sha256,
            "request": wanted.digest,
        }
        try:
            self._write(
                image.key,
                data,
                conditional=conditional,
                ContentType=f"image/{image.format}",
                Metadata=facts,
            )
        except ClientError as error:
            # 412: it is there already. 409: another writer is at it (S3); look again.
            first = self.find(wanted) if status_of(error) in {409, 412} else None
            if first is None:
                raise self._failed(error, "PutObject") from error
            return first
        except BotoCoreError as error:
            raise self._failed(error, "PutObject") from error
        return image if conditional else self.find(wanted) or image

    def read(self, key: str, max_bytes: int) -> bytes | None:
        """An object, None when there is none. Raises ValueError when it is larger than that."""
        try:
            found = self._client.get_object(Bucket=self.name, Key=key)
            with closing(found["Body"]) as body:
                # Before it is read: a mistake of gigabytes must not come into memory.
                if found["ContentLength"] > max_bytes:
                    raise ValueError(
                        f"s3://{self.name}/{key} has {found['ContentLength']} bytes,"
                        f" at most {max_bytes} are taken"
                    )
                return body.read()
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise self._failed(error, "GetObject") from error
        except BotoCoreError as error:
            raise self._failed(error, "GetObject") from error

    def remove(self, key: str) -> None:
        """Delete an object."""
        try:
            self._client.delete_object(Bucket=self.name, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise self._failed(error, "DeleteObject") from error

    def link(self, key: str) -> str:
        """A presigned link. A secret for as long as it lives: never store it. Asks nobody."""
        return self._linking.generate_presigned_url(
            "get_object",
            Params={"Bucket": self.name, "Key": key},
            ExpiresIn=self._link_seconds,
        )

    def leave_check(self) -> str:
        """Write a small object, as an image is written; its key."""
        key, ways = f"{CHECK_PREFIX}{uuid4()}", self.ways()
        try:
            self._write(key, CHECK, conditional=bool(ways.conditional))
        except (ClientError, BotoCoreError) as error:
            raise self._failed(error, "PutObject") from error
        return key

    def _keys(self, wanted: ImageId) -> list[str]:
        """Of a request's images, the one that was written first comes first."""
        prefix = f"{IMAGES_PREFIX}{wanted.request_id}."
        try:
            listed = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        except (ClientError, BotoCoreError) as error:
            raise self._failed(error, "ListObjectsV2") from error
        found = [
            (each["LastModified"], each["Key"])
            for each in listed.get("Contents", [])
            if each["Key"].endswith(f".{wanted.format}")
        ]
        return [key for _, key in sorted(found)]

    def _image(self, key: str, wanted: ImageId) -> StoredImage | None:
        try:
            head = self._client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            missing = {404, 403} if self.ways().hides_missing else {404}
            if status_of(error) in missing:
                return None
            raise self._failed(error, "HeadObject") from error
        except BotoCoreError as error:
            raise self._failed(error, "HeadObject") from error
        facts = head["Metadata"]
        try:
            found = StoredImage(
                key=key,
                format=facts["format"],
                size=head["ContentLength"],
                width=int(facts["width"]),
                height=int(facts["height"]),
                sha256=facts["sha256"],
            )
            digest = facts["request"]
        except (KeyError, ValueError) as error:
            raise ForeignError(
                f"s3://{self.name}/{key} was not written by Duragen: move it away and rerun",
                ours=False,
            ) from error
        if digest != wanted.digest:
            raise ForeignError(
                f"s3://{self.name}/{key} is the image of another request with the same requestId:"
                " send this one under an id of its own",
                ours=True,
            )
        return found

    def _write(
        self,
        key: str,
        data: bytes,
        *,
        conditional: bool,
        checksums: bool | None = None,
        **more: Any,
    ) -> None:
        if checksums is None:
            checksums = bool(self._ways and self._ways.checksums)
        if checksums:
            more["ChecksumSHA256"] = base64.b64encode(hashlib.sha256(data).digest()).decode()
        else:
            digest = hashlib.md5(data, usedforsecurity=False).digest()
            more["ContentMD5"] = base64.b64encode(digest).decode()
        if conditional:
            more["IfNoneMatch"] = "*"
        more |= self._encryption
        self._client.put_object(Bucket=self.name, Key=key, Body=data, **more)

    def _learned(self) -> Ways:
        self._check_there()
        key = f"{CHECK_PREFIX}{uuid4()}"
        checksums, conditional = self._taken(key)
        try:
            if self._known.conditional is None and conditional:
                conditional = self._keeps_the_first(key, checksums=checksums)
            hides = self._known.hides_missing
            if hides is None:
                hides = self._hides_missing(key)
            if not conditional:
                self._client.list_objects_v2(Bucket=self.name, Prefix=CHECK_PREFIX, MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            raise self._failed(error, "ListObjectsV2") from error
        finally:
            self._tidy(key)
        return Ways(checksums, conditional, hides)

    def _check_there(self) -> None:
        """Some stores make a bucket of any name when something is written to it."""
        try:
            self._client.head_bucket(Bucket=self.name)
        except ClientError as error:
            if status_of(error) == 404:
                raise StoreError(
                    f"the store has no bucket {self.name}", passing=False, fix=_CODES[_NO_BUCKET]
                ) from error
            return  # without the right to list: what follows shows whether it can be used
        except BotoCoreError as error:
            raise self._failed(error, "HeadBucket") from error

    def _taken(self, key: str) -> tuple[bool, bool]:
        """With which headers a small object is taken: checksum, condition."""
        first: ClientError | None = None
        known = self._known
        for conditional in _choices(known.conditional):
            for checksums in _choices(known.checksums):
                try:
                    self._write(key, CHECK, conditional=conditional, checksums=checksums)
                except ClientError as error:
                    if status_of(error) not in {400, 501}:
                        raise self._failed(error, "PutObject") from error
                    first = first or error
                except BotoCoreError as error:
                    raise self._failed(error, "PutObject") from error
                else:
                    return checksums, conditional
        if first is None:
            raise AssertionError("there is always a choice")
        raise self._failed(first, "PutObject") from first

    def _keeps_the_first(self, key: str, *, checksums: bool) -> bool:
        """Whether a second object under the same key is refused; some stores ignore the header."""
        try:
            self._write(key, CHECK, conditional=True, checksums=checksums)
        except ClientError as error:
            if status_of(error) in {409, 412}:
                return True
            raise self._failed(error, "PutObject") from error
        return False

    def _hides_missing(self, key: str) -> bool:
        """Without the right to list, what is missing is forbidden; what is there must not be."""
        try:
            self._client.head_object(Bucket=self.name, Key=f"{CHECK_PREFIX}missing-{uuid4()}")
        except ClientError as error:
            if status_of(error) != 403:
                if status_of(error) == 404:
                    return False
                raise self._failed(error, "HeadObject") from error
        try:
            self._client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            raise self._failed(error, "HeadObject") from error
        return True

    def _tidy(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self.name, Key=key)
        except (ClientError, BotoCoreError):
            return  # a few bytes; `duragen doctor` says that it may not delete

    def _failed(self, error: ClientError | BotoCoreError, operation: str) -> StoreError:
        return StoreError(
            f"the store (bucket {self.name}) failed: {error}",
            passing=not isinstance(error, ClientError) or status_of(error) in _PASSING,
            fix=_fix(error, operation),
        )


def status_of(error: ClientError) -> int:
    """The HTTP status of a refusal."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: ClientError) -> str:
    """S3's own word for it; a status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


_PASSING = frozenset({409, 412, 429, 500, 502, 503, 504})
"""No answer at all, throttling and 5xx pass, and so does a race with another writer (409, 412) that
left no image; a refusal (key, bucket, checksum) does not."""

_RIGHTS = {
    "PutObject": f"s3:PutObject on {IMAGES_PREFIX}*; where the bucket demands encryption, set"
    " storage.encryption",
    "HeadObject": f"s3:GetObject on {IMAGES_PREFIX}*, and s3:ListBucket: without it S3 answers 403"
    " for what is missing",
    "GetObject": f"s3:GetObject on {IMAGES_PREFIX}* and jobs/*",
    "ListObjectsV2": "s3:ListBucket: this store has no conditional writes, so images are listed",
    "DeleteObject": f"s3:DeleteObject on {CHECK_PREFIX}* and jobs/*",
}
_NO_BUCKET = "NoSuchBucket"
_CODES = {
    _NO_BUCKET: "create the bucket, or check storage.bucket",
    "SecondLevelDomainForbidden": 'set storage.addressing_style = "virtual"',
    "PermanentRedirect": "check storage.region and storage.endpoint_url",
    "AuthorizationHeaderMalformed": "check storage.region",
    "InvalidAccessKeyId": "check storage.access_key_id",
    "SignatureDoesNotMatch": "check storage.secret_access_key",
}


def _fix(error: ClientError | BotoCoreError, operation: str) -> str:
    """What to do; "" where it is not known."""
    if not isinstance(error, ClientError):
        return ""
    known = _CODES.get(code_of(error), "")
    if not known and status_of(error) == 403:
        known = f"check the keys, and grant {_RIGHTS[operation]}"
    return known


def _choices(known: bool | None) -> tuple[bool, ...]:  # a setting's value
    return (True, False) if known is None else (known,)


def _correlate(request: Any, **_: Any) -> None:
    bound = correlation.current()
    if bound:
        request.headers[CORRELATION_HEADER] = str(bound.correlation_id)
