"""Forgets images that were delivered, so that an hour of load fits on a disk.

25 images of 1.3 MB a second are 117 GB an hour; the embedded store has 32 GB.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx

from benchmarks.load import store_client
from contracts.names import IMAGES_PREFIX
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.config import BUCKET
from deploy.local.stack.local_stack import LocalStack

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

EVERY_SECONDS = 10.0
OLD = timedelta(seconds=60)
"""A generation under load ends within a few seconds."""

VACUUM_EVERY = 6
"""Rounds of deleting: deleted images leave the volumes once a minute, and not by the server's own
clock, each quarter of an hour."""


@asynccontextmanager
async def images_forgotten(stack: LocalStack) -> AsyncIterator[None]:
    """Delete images older than a minute while the block runs, and give their space back."""
    forgetting = asyncio.create_task(_forget(stack))
    try:
        yield
    finally:
        if forgetting.done():
            forgetting.result()  # it never ends by itself: raise why it did
        forgetting.cancel()


async def _forget(stack: LocalStack) -> None:
    s3 = store_client(stack)
    master = json.loads((stack.home / "ports.json").read_text())["store_master.port"]
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{master}", trust_env=False) as http:
        while True:
            for _ in range(VACUUM_EVERY):
                await asyncio.sleep(EVERY_SECONDS)
                await asyncio.to_thread(_delete_old, s3)
            answer = await http.get("/vol/vacuum", params={"garbageThreshold": "0.2"}, timeout=300)
            answer.raise_for_status()


def _delete_old(s3: "S3Client") -> None:
    before = datetime.now(UTC) - OLD
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=IMAGES_PREFIX):
        found = page.get("Contents", [])
        old = [each["Key"] for each in found if each["LastModified"] < before]
        if old:
            s3.delete_objects(
                Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in old], "Quiet": True}
            )
