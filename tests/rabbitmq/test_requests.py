"""Requests from RabbitMQ: each starts one generation, or is a dead letter with its reason."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from contracts.names import workflow_id
from starter.client import MAX_BODY_BYTES, AsyncDuragenClient
from tests.rabbitmq.broker import Broker, consuming
from tests.starter.entry_points import CALLBACK_URL, make_event


async def started(temporal: Client, request_id: str, owner: str = "") -> dict[str, Any]:
    """The event that the generation was started with, once it was."""
    handle = temporal.get_workflow_handle(workflow_id(UUID(request_id), owner))
    async with asyncio.timeout(100):
        while True:
            try:
                history = await handle.fetch_history()
                break
            except RPCError:
                await asyncio.sleep(0.02)
    [payload] = history.events[0].workflow_execution_started_event_attributes.input.payloads
    found: dict[str, Any] = json.loads(payload.data)
    return found


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same without these fields."""
    return {name: value for name, value in event.items() if name not in names}


FORMS = {
    "the event": lambda event: event,
    "error-handling.sequence, 3": lambda event: {
        "jobDetails": without(event, "requestId"),
        "generationRequestId": event["requestId"],
    },
    "developer-api.sequence, 8": lambda event: {
        "params": without(event, "requestId"),
        "JobID": event["requestId"],
    },
}


@pytest.mark.parametrize("form", FORMS)
async def test_each_body_of_the_specification_starts_the_same(
    form: str, broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """The workflow's input is EVT-AIG-001, whatever the body; the queue is empty afterwards."""
    event = make_event()
    async with consuming(broker.table(), client):
        await broker.publish(FORMS[form](event))
        assert await started(temporal, event["requestId"]) == event
    assert await broker.left() == 0
    assert await broker.letters() == []


async def test_what_the_sequences_lack_is_filled_in(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """The message's own correlation_id, else the job's id; the settings' callback address."""
    event = make_event()
    bare = without(event, "requestId", "correlationId", "callbackUrl")
    jobs = [{"JobID": str(uuid4()), "params": bare} for _ in range(2)]
    async with consuming(broker.table(callback_url=CALLBACK_URL), client):
        await broker.publish(jobs[0], correlation_id=event["correlationId"])
        await broker.publish(jobs[1])
        found = [await started(temporal, job["JobID"]) for job in jobs]
    assert [each["correlationId"] for each in found] == [event["correlationId"], jobs[1]["JobID"]]
    assert {each["callbackUrl"] for each in found} == {CALLBACK_URL}


async def test_a_cloudevent_is_opened(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """The structured mode has the event in `data`."""
    event = make_event()
    envelope = {"specversion": "1.0", "id": "1", "source": "odoo", "type": "x", "data": event}
    async with consuming(broker.table(), client):
        await broker.publish(envelope, content_type="application/cloudevents+json")
        assert await started(temporal, event["requestId"]) == event


async def test_a_message_that_comes_again_starts_nothing_more(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """Five copies, also under other message ids: one run, and no dead letter."""
    event = make_event()
    async with consuming(broker.table(), client):
        for _ in range(5):
            await broker.publish(event)
        await started(temporal, event["requestId"])
        async with asyncio.timeout(100):
            while await broker.left():
                await asyncio.sleep(0.05)
    query = f"RequestId = '{event['requestId']}'"
    async with asyncio.timeout(100):
        while (count := await temporal.count_workflows(query)).count == 0:
            await asyncio.sleep(0.05)
    assert count.count == 1
    assert await broker.letters() == []


async def test_the_settings_say_whose_it_is(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """With an owner the workflow's id ends with it, as for a key of the gateway."""
    event = make_event()
    async with consuming(broker.table(owner="acme"), client):
        await broker.publish(event)
        assert await started(temporal, event["requestId"], "acme") == event


REFUSED: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "no JSON": (b'{"requestId": SECRET', {}, "malformed", "not valid JSON (line 1, column 15)"),
    "no UTF-8": (b"\xff\xfeSECRET", {}, "malformed", "not valid JSON"),
    "a list": ([{"SECRET": 1}], {}, "malformed", "send the event itself, not a list"),
    "deep": (b"[" * 1_000 + b'"SECRET"', {}, "malformed", "more than 64 levels deep"),
    "a field": ({"resolution": "SECRET"}, {}, "malformed", "resolution: must be WIDTHxHEIGHT"),
    "an id": ({"requestId": "SECRET"}, {}, "malformed", "requestId: must be a UUID"),
    "no params": ({"params": "SECRET", "JobID": "1"}, {}, "malformed", "params must be an object"),
    "no job": ({"params": {"SECRET": 1}}, {}, "malformed", "JobID is missing beside params"),
    "two forms": ({"params": {}, "jobDetails": {"SECRET": 1}}, {}, "malformed", "send one of them"),
    "a version": ({"payloadVersion": "2.0"}, {}, "unsupported_version", "major version 2 is not"),
    "a header": ({}, {"headers": {"schema-version": "7"}}, "unsupported_version", "schema-version"),
    "a type": ({}, {"content_type": "text/SECRET"}, "malformed", "content_type must be"),
    "packed": ({}, {"content_encoding": "gzip"}, "malformed", "without a content_encoding"),
    "elsewhere": (
        {"callbackUrl": "https://elsewhere.example.com/duragen/v1/callback"},
        {},
        "callback_not_allowed",
        "is not on the allow list",
    ),
    "large": (b'"' + b"SECRET" * MAX_BODY_BYTES, {}, "too_large", "262144 are the most"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_starts_nothing_is_a_dead_letter(
    case: str, broker: Broker, client: AsyncDuragenClient
) -> None:
    """It is kept as it came, with a reason that quotes nothing of it; the next one starts."""
    sent, properties, reason, said = REFUSED[case]
    whole = isinstance(sent, dict) and not {"params", "jobDetails"} & sent.keys()
    body = make_event(**sent) if whole else sent
    headers = {"traceparent": "00-x", **properties.pop("headers", {})}
    async with consuming(broker.table(), client):
        await broker.publish(body, message_id="m-1", headers=headers, **properties)
        async with asyncio.timeout(100):
            while not (letters := await broker.letters()):
                await asyncio.sleep(0.05)
    assert await broker.left() == 0
    [letter] = letters
    assert (letter.reason, letter.message_id) == (reason, "m-1")
    assert said in letter.detail
    assert "SECRET" not in letter.detail
    assert letter.body == (body if isinstance(body, bytes) else json.dumps(body).encode())
    assert headers.items() <= letter.headers.items()


async def test_another_payload_under_the_same_id_is_a_dead_letter(
    broker: Broker, temporal: Client, client: AsyncDuragenClient
) -> None:
    """The first one runs; the second could only be started under its id."""
    event = make_event()
    async with consuming(broker.table(), client):
        await broker.publish(event)
        await started(temporal, event["requestId"])
        await broker.publish(event | {"prompt": "a windmill"})
        async with asyncio.timeout(100):
            while not (letters := await broker.letters()):
                await asyncio.sleep(0.05)
    assert [letter.reason for letter in letters] == ["conflict"]
