"""When a service says how long to wait: seconds, dates, milliseconds, and nonsense."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import GenerationRequested
from peers.http import retry_after_seconds
from tests.activities.http_peer import Peer, answer
from tests.activities.provider_calls import at_once, openai, refusal, submission


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "999999999"}, 3_600),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3_600),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after-ms": "-1", "retry-after": "7"}, 7),
    ],
)
async def test_delay(
    http: httpx.AsyncClient,
    peer: Peer,
    asked: GenerationRequested,
    headers: Mapping[str, str],
    seconds: float | None,
) -> None:
    """What the service asks for is what Temporal waits, within an hour."""
    peer.says(answer(429, "", headers))
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    delay = error.to_application_error().next_retry_delay
    assert delay == (None if seconds is None else timedelta(seconds=seconds))


def test_date() -> None:
    """A date is as far away as it is."""
    date = datetime.now(UTC) + timedelta(minutes=10)
    seconds = retry_after_seconds(httpx.Headers({"retry-after": format_datetime(date)}))
    assert seconds is not None
    assert seconds == pytest.approx(600, abs=30)


@given(st.text(alphabet=st.characters(codec="latin-1")) | st.floats().map(str))
def test_any_text(text: str) -> None:
    """Whatever stands in the header: nothing, or seconds within an hour."""
    value = text.encode("latin-1")
    headers = httpx.Headers([(b"retry-after", value), (b"retry-after-ms", value)])
    seconds = retry_after_seconds(headers)
    assert seconds is None or 0 <= seconds <= 3_600
