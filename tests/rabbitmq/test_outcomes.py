"""Outcomes to RabbitMQ: every generation's, once Odoo has it, into a queue or tried again."""

import asyncio
import hashlib
import sys
from datetime import datetime
from uuid import UUID, uuid4

from standardwebhooks import Webhook

from contracts.broker import JOB_COMPLETED, JOB_FAILED
from contracts.names import workflow_id
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.layout import environment_of_part
from tests.rabbitmq.broker import next_of
from tests.rabbitmq.world import LISTENING, World, body


async def test_a_request_by_the_broker_ends_as_an_event_there(world: World) -> None:
    """From the request to AIGenerationJobCompleted, whose address leads to the image."""
    event = world.event()
    await world.reserve(event)
    async with world.hearing(JOB_COMPLETED) as queue:
        await world.publish(event)
        message = await next_of(queue)
    said = body(message)
    assert (said["JobID"], said["status"]) == (event["requestId"], "completed")
    assert (said["requestId"], said["correlationId"]) == (
        event["requestId"],
        event["correlationId"],
    )
    assert message.message_id == f"{event['requestId']}.completed"
    assert (message.correlation_id, message.type) == (event["correlationId"], JOB_COMPLETED)
    assert message.headers["schema-version"] == "1"
    assert message.headers["traceparent"].split("-")[1] == event["correlationId"].replace("-", "")
    image = await world.http.get(said["assetURL"], headers=world.key, follow_redirects=True)
    assert hashlib.sha256(image.content).hexdigest() == said["hashValue"]
    assert len(image.content) == said["imageMetadata"]["size"]
    url = f"{world.stack.odoo_url}/_sandbox/requests/{event['requestId']}"
    recorded = await world.http.get(url)
    assert recorded.json()["state"] == "completed"


async def test_a_failure_is_published_with_its_blame(world: World) -> None:
    """AIGenerationJobFailed has EVT-AIG-003 and the job's id."""
    event = world.event(modelId=str(uuid4()))
    await world.reserve(event)
    async with world.hearing(JOB_FAILED) as queue:
        await world.publish(event)
        message = await next_of(queue)
    said = body(message)
    assert (said["JobID"], said["status"]) == (event["requestId"], "failed")
    assert (said["errorCode"], said["isSystemError"]) == ("MODEL_CONFIG", True)
    assert message.message_id == f"{event['requestId']}.failed.MODEL_CONFIG"


async def test_what_nobody_listens_to_is_published_once_somebody_does(world: World) -> None:
    """Without a queue the broker returns it; Odoo has the outcome, and the generation waits."""
    event = world.event()
    await world.reserve(event)
    await world.publish(event)
    await world.state_of(event, "announcing")
    handle = world.temporal.get_workflow_handle(workflow_id(UUID(event["requestId"])))
    async with asyncio.timeout(100):
        while not (pending := (await handle.describe()).raw_description.pending_activities):
            await asyncio.sleep(0.1)
        while not pending[0].last_failure.message:
            await asyncio.sleep(0.1)
            pending = (await handle.describe()).raw_description.pending_activities
    assert "no queue takes 'AIGenerationJobCompleted'" in pending[0].last_failure.message
    async with world.hearing(JOB_COMPLETED) as queue:
        message = await next_of(queue)
    assert message.message_id == f"{event['requestId']}.completed"
    await world.state_of(event, "completed")


async def test_an_odoo_that_listens_gets_its_outcome_signed(world: World) -> None:
    """Delivered once a queue has it; published once; with the secret of this Odoo."""
    event = world.event(callbackUrl=LISTENING + CALLBACK_PATH)
    async with world.hearing(JOB_COMPLETED) as queue:
        await world.publish(event)
        message = await next_of(queue)
        await world.state_of(event, "completed")
        assert await queue.get(fail=False) is None
    Webhook(world.stack.secrets.odoo_signing_secret).verify(
        message.body, {name: str(value) for name, value in message.headers.items()}
    )


async def test_attributes_of_cloudevents(world: World) -> None:
    """With `cloudevents_source` each message has them as headers, in the binary mode."""
    event = world.event(callbackUrl=LISTENING + CALLBACK_PATH)
    async with world.hearing(JOB_COMPLETED) as queue:
        await world.publish(event)
        message = await next_of(queue)
    found = {
        name.removeprefix("cloudEvents_"): value
        for name, value in message.headers.items()
        if name.startswith("cloudEvents_")
    }
    assert datetime.fromisoformat(str(found.pop("time"))).tzinfo
    assert found == {
        "specversion": "1.0",
        "id": f"{event['requestId']}.completed",
        "source": "https://duragen.example.com",
        "type": "AIGenerationJobCompleted",
        "subject": event["requestId"],
    }


async def test_the_doctor_knows_the_broker(world: World) -> None:
    """Whether it lets us in, and how many dead letters wait; no word of the password."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.cli", "doctor"),
        env=environment_of_part(world.stack.environment),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    [line] = [line for line in out.decode().splitlines() if "RabbitMQ: RabbitMQ" in line]
    assert line.startswith("ok ")
    assert line.endswith("answers; 0 dead letters")
    assert "queue broker" in out.decode()
    assert world.broker.server.url.split("@")[0].split(":")[2] not in out.decode()
