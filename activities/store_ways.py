"""What a store does differently from Amazon's, found out by small objects. All of it blocks."""

from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

from activities.s3 import CHECK_PREFIX, S3Bucket, StoreError

CHECK = b"duragen"
"""What is in those objects."""


class Ways(NamedTuple):
    """None is not known yet.

    `checksums`: it takes `x-amz-checksum-sha256`; else Content-MD5 is sent. `conditional`: it
    refuses a second object under the same key; else each image has a key that no other one has.
    `hides_missing`: it answers 403 to a look-up of what is not there: no right to list.
    """

    checksums: bool | None = None
    conditional: bool | None = None
    hides_missing: bool | None = None


def found_out(bucket: S3Bucket, known: Ways) -> Ways:
    """All of its ways; what is `known` is believed. Raises StoreError, which says what it lacks."""
    if None not in known:
        return known
    bucket.check_there()
    key = f"{CHECK_PREFIX}{uuid4()}"
    checksums, conditional = _taken(bucket, key, known)
    try:
        if conditional and known.conditional is None:
            conditional = _keeps_the_first(bucket, key, checksums=checksums)
        if not conditional:
            bucket.keys(CHECK_PREFIX)  # images are found by lists there
        hides = known.hides_missing
        return Ways(checksums, conditional, _hides(bucket, key) if hides is None else hides)
    finally:
        with suppress(StoreError):  # a few bytes; `duragen doctor` says that it may not delete
            bucket.delete(key)


def _taken(bucket: S3Bucket, key: str, known: Ways) -> tuple[bool, bool]:
    """With which headers a small object is taken: checksum, condition."""
    first: StoreError | None = None
    for conditional in _choices(known.conditional):
        for checksums in _choices(known.checksums):
            try:
                bucket.put(key, CHECK, conditional=conditional, checksums=checksums)
            except StoreError as error:
                if error.status not in {400, 501}:
                    raise
                first = first or error
            else:
                return checksums, conditional
    raise first or AssertionError("there is always a choice")


def _keeps_the_first(bucket: S3Bucket, key: str, *, checksums: bool) -> bool:
    """Whether a second object under the same key is refused; some stores ignore the header."""
    try:
        bucket.put(key, CHECK, conditional=True, checksums=checksums)
    except StoreError as error:
        if error.status in {409, 412}:
            return True
        raise
    return False


def _hides(bucket: S3Bucket, key: str) -> bool:
    """Without the right to list, what is missing is forbidden; what is there must not be."""
    try:
        bucket.head(f"{CHECK_PREFIX}missing-{uuid4()}")
    except StoreError as error:
        if error.status == 404:
            return False
        if error.status != 403:
            raise
    bucket.head(key)
    return True


def _choices(known: bool | None) -> tuple[bool, ...]:  # a setting's value
    return (True, False) if known is None else (known,)
