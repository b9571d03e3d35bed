"""What `duragen doctor` finds out about the store, by a small object: before money is spent."""

import asyncio

import httpx

from activities.bucket import Bucket
from activities.s3 import StoreError
from activities.store_ways import CHECK, Ways
from workers.doctor.finding import Finding
from workers.settings import Settings
from workers.store_wiring import bucket_of


async def store(settings: Settings, http: httpx.AsyncClient) -> Finding:
    """Whether it takes an image, gives it back, also by a link, and deletes it."""
    storage = settings.storage
    where = f"bucket {storage.bucket} at {storage.endpoint_url or 'AWS S3, ' + storage.region}"
    bucket = bucket_of(storage)
    try:
        ways, key = await asyncio.to_thread(_written, bucket)
    except StoreError as error:
        fix = error.fix or "check storage.* and that the store is up"
        return Finding("store", f"{where}: {error.detail}", fix)
    trouble = await _linked(bucket, key, http)
    can = "writes, reads and links"
    try:
        await asyncio.to_thread(bucket.remove, key)
        can = "writes, reads, links and deletes"
    except StoreError as error:
        if any(each.kind == "kubernetes" for each in settings.providers.values()):
            return Finding(
                "store", f"{where}: {error.detail}", error.fix or "grant s3:DeleteObject"
            )
        can += " (and must not delete: a few bytes stay for each worker that starts)"
    if trouble:
        found, fix = trouble
        return Finding("store", f"{where}: {found}", fix)
    return Finding("store", f"{where}: {can}{_said(ways)}")


def _written(bucket: Bucket) -> tuple[Ways, str]:
    """Its ways, and the key of a small object that was written and read back."""
    ways, key = bucket.ways(), bucket.leave_check()
    if bucket.read(key, len(CHECK)) != CHECK:
        raise StoreError(
            f"s3://{bucket.name}/{key} does not have the bytes that were written to it",
            fix="look at what stands between the worker and the store",
        )
    return ways, key


async def _linked(bucket: Bucket, key: str, http: httpx.AsyncClient) -> tuple[str, str] | None:
    """What is wrong with a link, and the fix. The link itself is a secret."""
    link = httpx.URL(bucket.link(key))
    place = f"a link at {link.scheme}://{link.netloc.decode()}"
    try:
        answer = await http.get(link)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        fix = "set storage.public_endpoint_url to the address at which Odoo reaches the store"
        return f"{place} cannot be opened ({reason})", fix
    if answer.status_code == 200 and answer.content == CHECK:
        return None
    fix = "check s3:GetObject, storage.region and storage.public_endpoint_url"
    return f"{place} answered {answer.status_code}", fix


def _said(ways: Ways) -> str:
    """What it does differently from Amazon's, and what Duragen does then."""
    said = ""
    if not ways.conditional:
        said += "; it has no conditional writes: each image gets a key of its own"
    if not ways.checksums:
        said += "; it takes no x-amz-checksum-sha256: Content-MD5 is sent"
    if ways.hides_missing:
        said += "; it answers 403 for what is missing: s3:ListBucket would make that a 404"
    return said
