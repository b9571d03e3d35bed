"""Asking about a generation, with and without a worker."""

from uuid import uuid4

import pytest
from temporalio.client import Client

from starter.client import (
    AsyncDuragenClient,
    NotFinishedError,
    NotFoundError,
    UnavailableError,
    ValidationError,
)
from tests.starter.entry_points import make_event


async def test_status_answers_without_a_worker(client: AsyncDuragenClient) -> None:
    """What the server knows is the answer when no worker runs."""
    event = make_event()
    await client.start(event)
    found = await client.status(event["requestId"])
    assert (found["state"], found["live"], found["image"]) == ("accepted", False, None)


async def test_redeliver_needs_a_worker(client: AsyncDuragenClient, address: str) -> None:
    """Without one it is UnavailableError, which the gateway answers with 503."""
    event = make_event()
    await client.start(event)
    hurried = AsyncDuragenClient(address, timeout=0.5, retry_seconds=())
    with pytest.raises(UnavailableError):
        await hurried.redeliver(event["requestId"])


async def test_an_unknown_request_is_not_found(client: AsyncDuragenClient) -> None:
    """No such generation is NotFoundError."""
    with pytest.raises(NotFoundError):
        await client.status(str(uuid4()))


async def test_a_malformed_id_is_refused(client: AsyncDuragenClient) -> None:
    """An id that is none never reaches the server."""
    with pytest.raises(ValidationError):
        await client.status("generation-7")


async def test_a_workflow_id_serves_as_well(client: AsyncDuragenClient) -> None:
    """`status` takes the workflow id that the Web UI shows."""
    started = await client.start(make_event())
    found = await client.status(started.workflow_id)
    assert found["requestId"] == started.request_id


async def test_result_stops_waiting(client: AsyncDuragenClient) -> None:
    """`result` waits no longer than it was asked to."""
    event = make_event()
    await client.start(event)
    with pytest.raises(NotFinishedError):
        await client.result(event["requestId"], 0.2)


async def test_a_terminated_generation_is_shown(
    client: AsyncDuragenClient, temporal: Client
) -> None:
    """What an operator terminated is failed, not forever accepted."""
    event = make_event()
    started = await client.start(event)
    await temporal.get_workflow_handle(started.workflow_id).terminate("by hand")
    found = await client.status(event["requestId"])
    assert (found["state"], found["error"]["code"]) == ("failed", "INTERNAL")


async def test_cancel_says_whether_it_was_in_time(
    client: AsyncDuragenClient, temporal: Client
) -> None:
    """True while the generation runs, False once it has ended."""
    event = make_event()
    started = await client.start(event)
    assert await client.cancel(event["requestId"])
    await temporal.get_workflow_handle(started.workflow_id).terminate()
    assert not await client.cancel(event["requestId"])


async def test_cancel_of_nothing_is_not_found(client: AsyncDuragenClient) -> None:
    """Only what exists can be canceled."""
    with pytest.raises(NotFoundError):
        await client.cancel(str(uuid4()))
