"""What Odoo's ledger and Temporal say of one generation, held against each other."""

import asyncio
from contextlib import suppress

from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from tests.lab import Handle, Lab, Ledgers

_STATUS = {
    "completed": WorkflowExecutionStatus.COMPLETED,
    "canceled": WorkflowExecutionStatus.CANCELED,
    "failed": WorkflowExecutionStatus.FAILED,
    "refused": WorkflowExecutionStatus.COMPLETED,  # the user's error: no operator has to look at it
}


async def reserve(lab: Lab, request: GenerationRequested) -> None:
    """Ask for it in Odoo, as a user does: the record and its reserved credit."""
    url = f"{lab.stack.odoo_url}/_sandbox/requests"
    (
        await lab.http.post(url, json=request.model_dump(mode="json", by_alias=True))
    ).raise_for_status()


async def begin(lab: Lab, request: GenerationRequested) -> Handle:
    """Reserve, and start."""
    await reserve(lab, request)
    return await lab.start(request)


async def ended(lab: Lab, request: GenerationRequested, handle: Handle) -> tuple[str, Ledgers]:
    """How it ended: `completed`, `canceled`, `failed`, or `refused` for a user's error.

    Fails when the two disagree, when anything is still reserved, when it is captured and released,
    or when a cancellation is booked otherwise than its event says.
    """
    with suppress(WorkflowFailureError):
        async with asyncio.timeout(100):
            await handle.result()
    status = (await handle.describe()).status
    ledgers = await lab.ledgers(request)
    assert ledgers.record, f"{status} and Odoo got no outcome"
    kinds = [entry["kind"] for entry in ledgers.record["ledger"]]
    applied = [each for each in ledgers.deliveries if each["effect"] == "applied"]
    assert len(applied) == 1, f"{len(applied)} outcomes: {applied}"
    event = applied[0]["event"]
    code = event.get("errorCode")
    word = "canceled" if code == ErrorCode.CANCELED else event["status"]
    word = "refused" if event.get("isUserError") else word
    assert status is _STATUS[word], f"Odoo has {word}, Temporal {status}"
    taken = word == "completed" or (word == "canceled" and event["mayHaveBeenPaid"])
    assert kinds == ["reserve", "capture" if taken else "release"]
    assert len({each["webhook_id"] for each in ledgers.deliveries}) == 1
    return word, ledgers
