"""Calls to one bucket of an S3 store, each made once, with one kind of error. All of it blocks."""

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.names import CORRELATION_HEADER, IMAGES_PREFIX
from otel import correlation

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectTypeDef

CHECK_PREFIX = f"{IMAGES_PREFIX}check-"
"""Small objects by which a store's ways are found out; each is deleted again."""

_PASSING = frozenset({0, 409, 412, 429, 500, 502, 503, 504})
"""No answer at all (0), throttling and 5xx pass, and so does a race with another writer (409, 412)
that left no image; a refusal (key, bucket, checksum) does not."""

_RIGHTS = {
    "PutObject": f"s3:PutObject on {IMAGES_PREFIX}*; where the bucket demands encryption, set"
    " storage.encryption",
    "HeadObject": f"s3:GetObject on {IMAGES_PREFIX}*, and s3:ListBucket: without it S3 answers 403"
    " for what is missing",
    "GetObject": f"s3:GetObject on {IMAGES_PREFIX}* and jobs/*",
    "ListObjectsV2": "s3:ListBucket: images are listed, to erase them and where the store has no"
    " conditional writes",
    "DeleteObject": f"s3:DeleteObject on {CHECK_PREFIX}* and jobs/*; to erase, on {IMAGES_PREFIX}*",
    "ListObjectVersions": "s3:ListBucketVersions, and s3:DeleteObjectVersion to erase them",
}
_NO_BUCKET = "create the bucket, or check storage.bucket"
_CODES = {
    "NoSuchBucket": _NO_BUCKET,
    "SecondLevelDomainForbidden": 'set storage.addressing_style = "virtual"',
    "PermanentRedirect": "check storage.region and storage.endpoint_url",
    "AuthorizationHeaderMalformed": "check storage.region",
    "InvalidAccessKeyId": "check storage.access_key_id",
    "SignatureDoesNotMatch": "check storage.secret_access_key",
}


class StoreError(Exception):
    """The store did not do it; the text names the bucket, and `fix`: what to do, where known.

    `status` is the HTTP status of a refusal, 0 when nobody answered.
    """

    def __init__(self, detail: str, *, status: int = 0, fix: str = "") -> None:
        super().__init__(f"{detail}; {fix}" if fix else detail)
        self.detail = detail
        self.status = status
        self.fix = fix

    @property
    def passing(self) -> bool:
        """The same may be taken later."""
        return self.status in _PASSING


class S3Bucket:
    """One bucket. Every method raises StoreError."""

    def __init__(
        self, client: "S3Client", name: str, encryption: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._client = client
        self._encryption = dict(encryption or {})
        # Not before it is signed: a link would then be good only with the header.
        client.meta.events.register("before-send.s3", _correlate)

    def check_there(self) -> None:
        """Raise StoreError when there is none of that name.

        Some stores make one as soon as something is written to it.
        """
        try:
            self._client.head_bucket(Bucket=self.name)
        except ClientError as error:
            # Without the right to list it is forbidden; what follows shows whether it can be used.
            if _status(error) == 404:
                detail = f"the store has no bucket {self.name}"
                raise StoreError(detail, status=404, fix=_NO_BUCKET) from error
        except BotoCoreError as error:
            raise self._failed(error, "HeadBucket") from error

    def put(
        self,
        key: str,
        data: bytes,
        *,
        conditional: bool,
        checksums: bool,
        sha256: str | None = None,
        **more: Any,
    ) -> None:
        """Write an object; `conditional`: unless there is one of that key (412 then).

        `sha256` of `data` in hex, where it is known already.
        """
        if checksums:
            digest = bytes.fromhex(sha256) if sha256 else hashlib.sha256(data).digest()
            more["ChecksumSHA256"] = base64.b64encode(digest).decode()
        else:
            digest = hashlib.md5(data, usedforsecurity=False).digest()
            more["ContentMD5"] = base64.b64encode(digest).decode()
        if conditional:
            more["IfNoneMatch"] = "*"
        more |= self._encryption
        with self._translated("PutObject"):
            self._client.put_object(Bucket=self.name, Key=key, Body=data, **more)

    def head(self, key: str) -> tuple[int, dict[str, str]]:
        """An object's bytes, and what it says of itself."""
        with self._translated("HeadObject"):
            head = self._client.head_object(Bucket=self.name, Key=key)
            return head["ContentLength"], head["Metadata"]

    def get(self, key: str, max_bytes: int) -> bytes:
        """An object. Raises ValueError when it is larger than that."""
        with self._translated("GetObject"):
            found = self._client.get_object(Bucket=self.name, Key=key)
            with closing(found["Body"]) as body:
                # Before it is read: a mistake of gigabytes must not come into memory.
                if found["ContentLength"] > max_bytes:
                    raise ValueError(
                        f"s3://{self.name}/{key} has {found['ContentLength']} bytes,"
                        f" at most {max_bytes} are taken"
                    )
                return body.read()

    def keys(self, prefix: str) -> list[str]:
        """Keys that begin so, the one that was written first comes first; a thousand at most.

        Some stores do not say when: those come last, by their keys.
        """
        with self._translated("ListObjectsV2"):
            listed = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        found = [(_written(each), each["Key"]) for each in listed.get("Contents", [])]
        return [key for _, key in sorted(found)]

    def folders(self, prefix: str) -> list[str]:
        """What stands in keys between the prefix and the next `/`; reads them all."""
        with self._translated("ListObjectsV2"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter="/"
            )
            found = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        return [each.removeprefix(prefix).removesuffix("/") for each in found]

    def delete(self, key: str, version: str | None = None) -> None:
        """Delete an object, or a version of it; one that is not there is no error."""
        more = {"VersionId": version} if version else {}
        with self._translated("DeleteObject"):
            self._client.delete_object(Bucket=self.name, Key=key, **more)  # type: ignore[arg-type]  # of `more`

    def versions(self, prefix: str) -> list[tuple[str, str]]:
        """Key and version of all that a bucket with versions keeps, also of what was deleted."""
        with self._translated("ListObjectVersions"):
            listed = self._client.list_object_versions(Bucket=self.name, Prefix=prefix)
        found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        # "null" is that of an object from before the bucket had versions, or in one without: there
        # it is the object itself, which is the latest.
        named = [(each.get("VersionId", "null"), each) for each in found]
        return [
            (each["Key"], version)
            for version, each in named
            if version != "null" or not each.get("IsLatest", True)
        ]

    def link(self, key: str, seconds: int) -> str:
        """A presigned link. It is computed; credentials that end may be renewed for it."""
        with self._translated("GetObject"):
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self.name, "Key": key}, ExpiresIn=seconds
            )

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise self._failed(error, operation) from error

    def _failed(self, error: ClientError | BotoCoreError, operation: str) -> StoreError:
        detail = f"the store (bucket {self.name}) failed: {error}"
        if isinstance(error, BotoCoreError):
            return StoreError(detail)
        status = _status(error)
        fix = _CODES.get(str(error.response.get("Error", {}).get("Code")), "")
        if not fix and status == 403:
            fix = f"check the keys, and grant {_RIGHTS[operation]}"
            if "SSEKMSKeyId" in self._encryption:
                fix += "; for its key kms:GenerateDataKey and kms:Decrypt"
        return StoreError(detail, status=status, fix=fix)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))


def _written(listed: "ObjectTypeDef") -> float:
    when = listed.get("LastModified")
    return when.timestamp() if when else math.inf


def _correlate(request: Any, **_: Any) -> None:
    bound = correlation.current()
    if bound:
        request.headers[CORRELATION_HEADER] = str(bound.correlation_id)
