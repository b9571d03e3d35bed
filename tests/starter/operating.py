"""What the operators' tests share: generations that wait for a person, and looking at them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from contracts.events import GenerationRequested
from contracts.generation import GenerationState
from contracts.names import GENERATION_STATUS, workflow_id
from contracts.tasks import DeliveryDecision
from starter.client import AsyncDuragenClient
from starter.operations.bulk import these
from starter.operations.parked import Redelivered, count_parked, redeliver
from starter.operations.rerun import Rerun, Rerunning, Target, rerun
from tests.lab import Lab

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

T = TypeVar("T")

BY = DeliveryDecision(by="anna", reason="a test")
STATUS = SearchAttributeKey.for_keyword(GENERATION_STATUS)
UNAUTHORIZED = {"kind": "status", "status": 401}


def address(desk: Lab) -> str:
    """Where the desk's server listens."""
    return desk.client.service_client.config.target_host


def found_by(desk: Lab) -> dict[str, str]:
    """The environment in which the command finds the desk."""
    return {"TEMPORAL_ADDRESS": address(desk), "TEMPORAL_NAMESPACE": desk.client.namespace}


def id_of(request: GenerationRequested) -> str:
    """Its workflow id."""
    return workflow_id(request.request_id)


async def begun(desk: Lab, number: int = 1, **changes: Any) -> list[GenerationRequested]:
    """New generations, started as the entry points do."""
    client = AsyncDuragenClient(address(desk), desk.client.namespace)
    requests = [desk.request(**changes) for _ in range(number)]
    for request in requests:
        await client.start(request.model_dump(mode="json", by_alias=True, exclude_none=True))
    return requests


async def parked_with(desk: Lab, number: int = 1, status: int = 404) -> list[GenerationRequested]:
    """New generations, parked because Odoo answers `status`; Odoo stays so."""
    await desk.break_odoo(status=status)
    before = await count_parked(desk.client)
    requests = await begun(desk, number)
    await until(lambda: count_parked(desk.client), before + number)
    return requests


async def failed_with(desk: Lab, number: int = 1) -> list[GenerationRequested]:
    """New generations that failed with AUTH_CONFIG; the key is right again afterwards."""
    await desk.break_images(always=UNAUTHORIZED)
    requests = await begun(desk, number)
    for request in requests:
        await ended(desk, request)
    await desk.clear_faults()
    return requests


async def until(look: Callable[[], Awaitable[T]], wanted: T) -> None:
    """Look until it is so: lists lag by moments."""
    seen: T | None = None
    try:
        async with asyncio.timeout(100):
            while (seen := await look()) != wanted:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{seen} is not {wanted}") from None


async def ended(desk: Lab, request: GenerationRequested) -> WorkflowExecutionDescription:
    """What its latest run ended as."""
    handle = desk.client.get_workflow_handle(id_of(request))
    async with asyncio.timeout(100):
        while (found := await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.05)
    return found


async def ends(desk: Lab, request: GenerationRequested, state: GenerationState) -> None:
    """It ends in this state, where operators list by it."""
    found = await ended(desk, request)
    assert found.typed_search_attributes[STATUS] == state


async def runs_of(desk: Lab, request: GenerationRequested) -> int:
    """How many runs there have been."""
    query = f"WorkflowId = '{id_of(request)}'"
    return (await desk.client.count_workflows(query)).count


async def redelivered(desk: Lab, *requests: GenerationRequested) -> list[Redelivered]:
    """Try these now."""
    return [each async for each in redeliver(desk.client, these([*map(id_of, requests)]), BY)]


async def rerun_by_id(
    desk: Lab,
    request: GenerationRequested,
    error: str | None = None,
    *,
    pay_again: bool = False,
) -> Rerunning:
    """Run this one again."""
    target = these([Target(id_of(request))])
    results = rerun(desk.client, target, BY, error=error, pay_again=pay_again)
    [result] = [each async for each in results]
    return result


async def refused(desk: Lab, request: GenerationRequested) -> str:
    """Why this one is not run again."""
    result = await rerun_by_id(desk, request)
    assert result.result is Rerun.REFUSED, result
    return result.detail


async def is_delivered_once(
    desk: Lab, request: GenerationRequested, booked: tuple[str, ...] = ("capture",)
) -> None:
    """One paid call; Odoo has the image, and has booked this and nothing else."""
    ledgers = await desk.ledgers(request)
    assert ledgers.paid == 1
    assert ledgers.record
    assert ledgers.record["state"] == "completed"
    assert [entry["kind"] for entry in ledgers.record["ledger"]] == list(booked)
    assert [each["effect"] for each in ledgers.deliveries].count("applied") == len(booked)


async def images_of(store: "S3Client", bucket: str, request: GenerationRequested) -> int:
    """How many images of it stand in the store."""
    prefix = f"generations/{request.request_id}"
    found = await asyncio.to_thread(store.list_objects_v2, Bucket=bucket, Prefix=prefix)
    return found["KeyCount"]
