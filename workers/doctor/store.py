"""What `duragen doctor` finds out about store and spool: before money is spent."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx

from activities.bucket import Bucket
from activities.s3 import StoreError
from activities.spool import Spool, SpoolError
from activities.store_ways import CHECK, Ways
from contracts.names import JOBS_PREFIX
from peers.http import call
from peers.loopback import is_loopback
from workers.doctor.finding import Finding
from workers.settings import ProcessSettings, Settings
from workers.store_wiring import bucket_of

LINK_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024


async def store(settings: Settings, http: httpx.AsyncClient) -> Finding:
    """Whether it takes an image, gives it back, also by a link, and deletes it."""
    storage = settings.storage
    where = f"bucket {storage.bucket} at {storage.endpoint_url or 'AWS S3, ' + storage.region}"
    # Whether it keeps the first object of a key is tried also where the settings say so.
    ways = Ways(checksums=storage.checksums)
    bucket = bucket_of(storage, ways, use_proxies=settings.worker.use_proxies)
    has_jobs = any(each.kind == "kubernetes" for each in settings.providers.values())
    try:
        ways, key = await asyncio.to_thread(_written, bucket, has_jobs=has_jobs)
    except StoreError as error:
        fix = error.fix or "check storage.* and that the store is up"
        return Finding("store", f"{where}: {error.detail}", fix)
    link = httpx.URL(bucket.link(key))
    place = f"{link.scheme}://{link.netloc.decode()}"
    linked = [odoo.origin for odoo in settings.odoo if odoo.images == "link"]
    trouble = await _link_trouble(link, place, linked, http) if linked else None
    can = "writes, reads and links"
    try:
        await asyncio.to_thread(bucket.remove, key)
        can = "writes, reads, links and deletes"
    except StoreError as error:
        if has_jobs:
            return Finding(
                "store", f"{where}: {error.detail}", error.fix or "grant s3:DeleteObject"
            )
        can += " (and must not delete: a few bytes stay for each worker that starts)"
    if trouble:
        found, fix = trouble
        return Finding("store", f"{where}: {found}", fix)
    if storage.conditional_writes and not ways.conditional:
        found = "it replaces the first object of a key, or refuses If-None-Match"
        fix = "leave storage.conditional_writes out, or a second image replaces the first"
        return Finding("store", f"{where}: {found}", fix)
    reach = f"; links lead to {place}, which each Odoo must reach" if linked else ""
    return Finding("store", f"{where}: {can}{reach}{_said(ways)}")


async def spool(process: ProcessSettings) -> Finding:
    """Whether paid images can wait on this machine; a worker elsewhere has a folder of its own."""
    folder = process.spool_dir
    if not folder.exists():
        return Finding("spool", f"{folder} is not there: a worker that starts here makes it")
    with ThreadPoolExecutor(1) as executor:
        try:
            images = Spool(folder, process.spool_bytes, executor)
        except SpoolError as error:
            return Finding("spool", str(error), "nothing can be paid for here before")
        held, has_room = await images.held(), await images.has_room()
    found = f"{images.where}: {held.images} images wait, {held.bytes} bytes; {held.lost} are lost"
    if not has_room:
        fix = "nothing is paid for: bring the store back, free the disk or raise worker.spool_bytes"
        return Finding("spool", f"{found}; no room for another", fix)
    return Finding("spool", found)


def _written(bucket: Bucket, *, has_jobs: bool) -> tuple[Ways, str]:
    """Its ways, and the key of a small object that was written and read back."""
    if has_jobs:
        bucket.read(f"{JOBS_PREFIX}check-{uuid4()}", len(CHECK))  # there is none: it may be read
    ways, key = bucket.ways(), bucket.leave_check()
    if bucket.read(key, len(CHECK)) != CHECK:
        raise StoreError(
            f"s3://{bucket.name}/{key} does not have the bytes that were written to it",
            fix="look at what stands between the worker and the store",
        )
    return ways, key


async def _link_trouble(
    link: httpx.URL, place: str, odoos: list[str], http: httpx.AsyncClient
) -> tuple[str, str] | None:
    """What is wrong with a link, and the fix. The link itself is a secret: `place` is said."""
    fix = "set storage.public_endpoint_url to the address at which Odoo reaches the store"
    elsewhere = [origin for origin in odoos if not is_loopback(origin)]
    if is_loopback(place) and elsewhere:
        return f"a link at {place} would lead {elsewhere[0]} to its own machine", fix
    try:
        answer = await call(
            http, "GET", str(link), timeout_seconds=LINK_SECONDS, max_bytes=MAX_ANSWER_BYTES
        )
    except (TimeoutError, httpx.HTTPError) as error:
        reason = str(error) or type(error).__name__
        unless = "; if Odoo's network alone reaches it, nothing is wrong"
        return f"a link at {place} cannot be opened from here ({reason})", fix + unless
    if answer.status == 200 and answer.body == CHECK:
        return None
    fix = "check s3:GetObject, storage.region and storage.public_endpoint_url"
    return f"a link at {place} answered {answer.status}", fix


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
