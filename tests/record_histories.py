"""Records real histories for tests/histories/: `make histories`, after a meant change of the flow.

A history is named after what happened and after the day it was recorded; an old one stays for as
long as workflows of its age may be running.
"""

import asyncio
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter

from contracts.generation import DeliveryDecision, GenerationState
from contracts.names import RETRY_DELIVERY_UPDATE
from deploy.local.stack import LocalStack
from tests.lab import Handle, Lab


async def _ended(handle: Handle) -> Handle:
    try:
        await handle.result()
    except WorkflowFailureError as error:
        print(f"  {handle.id} ended: {error.cause!r}")
    return handle


async def _happy(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.request()))


async def _flux(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.flux_request()))


async def _refused(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.request(prompt="something forbidden")))


async def _failed(lab: Lab) -> Handle:
    return await _ended(await lab.start(lab.request(prompt="sandbox:unauthorized")))


async def _canceled(lab: Lab) -> Handle:
    await lab.break_images({"kind": "hang"})
    handle = await lab.start(lab.request())
    await lab.reaches(handle, GenerationState.GENERATING)
    await handle.cancel()
    return await _ended(handle)


async def _parked(lab: Lab) -> Handle:
    await lab.break_odoo(status=404)
    handle = await lab.start(lab.request())
    await lab.reaches(handle, GenerationState.PARKED)
    await lab.mend()
    await handle.execute_update(RETRY_DELIVERY_UPDATE, DeliveryDecision(by="recorder"))
    return await _ended(handle)


STORIES = {
    "happy": _happy,
    "flux": _flux,
    "refused": _refused,
    "failed": _failed,
    "canceled": _canceled,
    "parked_then_delivered": _parked,
}


async def record(folder: Path) -> None:
    """Live each story once on a fresh stack and write its history."""
    folder.mkdir(parents=True, exist_ok=True)
    day = datetime.now(UTC).strftime("%Y%m%d")
    parts = ("temporal", "store", "images", "odoo", "worker")
    with tempfile.TemporaryDirectory() as home, LocalStack(Path(home), parts) as stack:
        client = await Client.connect(
            stack.temporal_address, data_converter=pydantic_data_converter
        )
        for name, story in STORIES.items():
            async with Lab.open(stack, client) as lab:
                handle = await story(lab)
            history = await handle.fetch_history()
            # A stack trace names the folders of the machine it was recorded on.
            text = re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', history.to_json())
            (folder / f"{name}.{day}.json").write_text(text + "\n")
            print(f"{name}: {len(history.events)} events")


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
