"""Whatever somebody may publish: bodies, properties and headers, as hypothesis makes them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aio_pika import Message
from hypothesis import strategies as st

from tests.starter.entry_points import make_event

FIELDS = st.sampled_from(
    [
        *make_event(),
        "params",
        "JobID",
        "jobDetails",
        "generationRequestId",
        "data",
        "seed",
        "\ud800",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([*map(str, make_event().values()), "1e999", "http://[", "\x00", "2.0"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=8,
)


def _folded(event: dict[str, Any], form: str) -> dict[str, Any]:
    identity = {"params": "JobID", "jobDetails": "generationRequestId"}[form]
    return {identity: event.get("requestId"), form: event}


CHANGED = st.dictionaries(FIELDS, VALUES, max_size=4).map(lambda changes: make_event() | changes)
FORMS = CHANGED | st.builds(_folded, CHANGED, st.sampled_from(["params", "jobDetails"]))
BODIES = (FORMS | VALUES).map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60)

# What AMQP can carry: short strings are UTF-8 without NUL, of 255 bytes at most.
SHORT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
HEADER_NAMES = SHORT | st.sampled_from(
    [
        "schema-version",
        "traceparent",
        "tracestate",
        "x-duragen-reason",
        "x-death",
        "x-delivery-count",
    ]
)
HEADER_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, width=32)
    | SHORT
    | st.binary(max_size=20).map(bytearray)
    | st.just(datetime(2026, 1, 1, tzinfo=UTC))
    | st.just(Decimal("1.5"))
    | st.sampled_from(["1", "2", "1.0", "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.builds(
    Message,
    BODIES,
    headers=st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=4),
    content_type=st.none()
    | SHORT
    | st.sampled_from(["application/json", "application/cloudevents+json", "text/plain"]),
    content_encoding=st.none() | SHORT | st.sampled_from(["utf-8", "gzip"]),
    correlation_id=st.none() | SHORT | st.just(make_event()["correlationId"]),
    message_id=st.none() | SHORT,
    type=st.none() | SHORT,
    app_id=st.none() | SHORT,
)
