"""Headers of messages: the trace that comes with one, and what a dead letter keeps of them."""

from typing import Any, cast

import pytest
from aio_pika import Message

from contracts.broker import DeadLetterReason
from starter.rabbitmq.dead_letters import dead
from starter.rabbitmq.reading import trace_headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (
            {"traceparent": PARENT, "tracestate": "a=b"},
            {"traceparent": PARENT, "tracestate": "a=b"},
        ),
        ({"cloudEvents_traceparent": PARENT}, {"traceparent": PARENT}),
        ({"cloudEvents_traceparent": OTHER, "traceparent": PARENT}, {"traceparent": PARENT}),
        ({"traceparent": PARENT.encode()}, {"traceparent": PARENT}),
        ({"traceparent": ["no text"], "other": "x"}, {}),
        ({}, {}),
    ],
)
def test_trace_headers(headers: dict[str, Any], found: dict[str, str]) -> None:
    """The plain name counts before the attribute; what is no text does not."""
    message = Message(b"", headers=headers)
    assert trace_headers(cast("Any", message)) == found


def test_a_dead_letter_keeps_what_can_be_sent() -> None:
    """The library reads numbers of 64 bits and cannot write all of them: those become texts."""
    headers = {"large": 1e300, "many": [1.5, {"x": -1e300}], "small": 1.5, "text": "t"}
    letter = dead(cast("Any", Message(b"", headers=headers)), DeadLetterReason.MALFORMED, "why")
    assert letter.headers == {
        "large": "1e+300",
        "many": [1.5, {"x": "-1e+300"}],
        "small": 1.5,
        "text": "t",
        "x-duragen-reason": "malformed",
        "x-duragen-detail": "why",
    }
    letter.properties.marshal()
