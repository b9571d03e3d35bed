"""Whatever comes as a message, the reader of requests ends with an event or with a reason."""

from typing import Any, cast

from aio_pika import Message
from hypothesis import example, given, settings

from contracts.broker import DeadLetterReason
from contracts.events import GenerationRequested
from peers.rabbitmq import RabbitTable
from starter.rabbitmq.reading import RefusedError, read_request, trace_headers
from tests.bounded import within_bounds
from tests.starter.any_messages import MESSAGES

TABLE = RabbitTable.model_validate({"url": "amqp://127.0.0.1", "publish_outcomes": False})


@settings(derandomize=True, max_examples=300, deadline=None)
@given(MESSAGES)
@example(Message(b'["\\ud800"]'))
@example(Message(b'{"a":' + b"[" * 100_000))
@example(Message(b"[" + b"{}," * 60_000 + b"{}]"))
@example(Message(b'{"JobID": {"a": 1}, "params": {"requestId": [1]}}'))
@within_bounds
def test_any_message(message: Message) -> None:
    """Nothing else is raised; the trace's headers are texts."""
    incoming = cast("Any", message)
    try:
        found: object = read_request(incoming, TABLE)
    except RefusedError as refused:
        found = refused.reason
    assert isinstance(found, GenerationRequested | DeadLetterReason)
    assert all(isinstance(text, str) for text in trace_headers(incoming).values())
