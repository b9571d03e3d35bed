"""Publishing outcomes to RabbitMQ: AIGenerationJobCompleted, AIGenerationJobFailed.

Two uses of the same message: one more announcement, once Odoo has the outcome; and the delivery
itself, to an Odoo that takes its outcomes from the broker.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from aio_pika import DeliveryMode, Message
from opentelemetry import trace
from standardwebhooks import Webhook
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.errors import OdooError
from activities.heartbeat import beating
from activities.odoo.deliver import OutcomeEvent, failed_event
from contracts.broker import (
    JOB_COMPLETED,
    JOB_FAILED,
    SIGNATURE_HEADERS,
    VERSION_HEADER,
    JobCompleted,
    JobFailed,
    JobOutcome,
)
from contracts.errors import DeliveryError
from contracts.events import SUPPORTED_MAJOR_VERSION, ImageMetadata
from contracts.names import PUBLISH_ACTIVITY
from contracts.tasks import Delivered, DeliverTask
from otel.correlation import outgoing_headers
from peers.rabbitmq import BrokerError, RabbitTable
from peers.rabbitmq_publisher import Publisher

APP_ID = "duragen"

_tracer = trace.get_tracer(__name__)


class OutcomeMessages:
    """One broker. `publish` may be called twice for an outcome: `message_id` is the same."""

    def __init__(self, table: RabbitTable, publisher: Publisher) -> None:
        self._table = table
        self._publisher = publisher

    async def publish(self, task: DeliverTask, signing_secrets: Sequence[str] = ()) -> str:
        """Return when a queue has the outcome, with words for operators. Raises BrokerError."""
        table = self._table
        outcome = job_outcome(task, str(table.gateway_url))
        done = isinstance(outcome, JobCompleted)
        key = table.completed_key if done else table.failed_key
        with _tracer.start_as_current_span(f"publish {key}", kind=trace.SpanKind.PRODUCER) as span:
            span.set_attribute("messaging.system", "rabbitmq")
            span.set_attribute("messaging.destination.name", table.exchange)
            message = self._message(task, outcome, JOB_COMPLETED if done else JOB_FAILED)
            _sign(message, signing_secrets)
            await self._publisher.publish(table.exchange, key, message)
        return f"{table.place} has {task.message_id} as {key}"

    def _message(self, task: DeliverTask, outcome: JobOutcome, name: str) -> Message:
        now = datetime.now(UTC)
        headers = {VERSION_HEADER: SUPPORTED_MAJOR_VERSION, **outgoing_headers()}
        if self._table.cloudevents_source:
            # CloudEvents 1.0, AMQP binding, binary mode: attributes are headers with this prefix.
            attributes = {
                "specversion": "1.0",
                "id": task.message_id,
                "source": self._table.cloudevents_source,
                "type": name,
                "subject": str(task.request_id),
                "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
            headers |= {f"cloudEvents_{each}": value for each, value in attributes.items()}
        return Message(
            outcome.model_dump_json(exclude_none=True).encode(),
            headers=dict(headers),
            content_type="application/json",
            message_id=task.message_id,
            correlation_id=str(task.correlation_id),
            timestamp=now,
            type=name,
            app_id=APP_ID,
            delivery_mode=DeliveryMode.PERSISTENT,
        )


def _sign(message: Message, secrets: Sequence[str]) -> None:
    """As a callback is: whoever may publish at the broker cannot forge an Odoo's outcome."""
    if not secrets:
        return
    now, identity = datetime.now(UTC), str(message.message_id)
    signatures = [Webhook(each).sign(identity, now, message.body.decode()) for each in secrets]
    values = (identity, str(int(now.timestamp())), " ".join(signatures))
    message.headers.update(zip(SIGNATURE_HEADERS, values, strict=True))


def job_outcome(task: DeliverTask, gateway_url: str) -> JobOutcome:
    """The body of the message."""
    image, failure = task.outcome.image, task.outcome.failure
    if image:
        return JobCompleted(
            job_id=task.request_id,
            request_id=task.request_id,
            correlation_id=task.correlation_id,
            status="completed",
            asset_url=f"{gateway_url.rstrip('/')}/v1/generations/{task.request_id}/image",
            image_metadata=ImageMetadata(
                format=image.format, size=image.size, width=image.width, height=image.height
            ),
            hash_value=image.sha256,
            ignored_fields=task.outcome.ignored or None,
        )
    if failure is None:
        raise ValueError("an outcome has an image or a failure")
    said = failed_event(task, failure).model_dump(exclude_none=True)
    return JobFailed.model_validate({"JobID": task.request_id, **said})


class PublishActivities:
    """The announcement."""

    def __init__(self, messages: OutcomeMessages) -> None:
        self._messages = messages

    @activity.defn(name=PUBLISH_ACTIVITY)
    async def publish(self, task: DeliverTask) -> Delivered:
        """Publish once; raises ApplicationError, and Temporal tries again."""
        try:
            async with beating():
                return Delivered(answer=await self._messages.publish(task))
        except BrokerError as error:
            raise ApplicationError(str(error)) from None


class BrokerDelivery:
    """The delivery to an Odoo that takes its outcomes from the broker; see `OdooDelivery`."""

    def __init__(self, messages: OutcomeMessages, signing_secrets: Sequence[str]) -> None:
        self._messages = messages
        self._signing_secrets = signing_secrets

    async def deliver(self, task: DeliverTask, event: OutcomeEvent) -> str:  # noqa: ARG002  # its link would expire in the queue
        """Publish it. A broker that does not take it is as an Odoo that is away."""
        try:
            return await self._messages.publish(task, self._signing_secrets)
        except BrokerError as error:
            raise OdooError(DeliveryError.ODOO_UNAVAILABLE, str(error)) from error
