"""What callers may ask for in headers, spelling by spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starter.gateway.developers.headers import cancel_after_of, idempotency_key_of, wait_of
from starter.gateway.developers.refusals import MOST_REFUSED, Refusals
from starter.gateway.problems import ProblemError


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait", 60),
        ("wait=5", 5),
        ('wait="5"', 5),
        (" wait = 5 ; foo=bar", 5),
        ("respond-async, wait=10", 10),
        ("wait=0", 0),
        ("wait=61", 60),
        ("wait=99999", 60),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("waiting=5", 0),
    ],
)
def test_prefer(prefer: str | None, seconds: int) -> None:
    """RFC 7240: what makes no sense is ignored."""
    assert wait_of(prefer) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("30s", 30), ("5m", 300), ("1h30m", 5_400), ("1h1m1s", 3_661), ("24h", 86_400)],
)
def test_cancel_after(text: str, seconds: int) -> None:
    """Seconds, or hours, minutes and seconds."""
    assert cancel_after_of(text) == seconds


@given(st.text(max_size=12))
def test_any_header_is_read_or_refused(text: str) -> None:
    """Nothing else is raised, and what is read is within bounds."""
    assert 0 <= wait_of(text) <= 60
    for read in (cancel_after_of, idempotency_key_of):
        found: object
        try:
            found = read(text)
        except ProblemError as problem:
            found = problem.status
        assert found
        assert not isinstance(found, int) or 5 <= found <= 86_400


def test_refusals_are_bounded() -> None:
    """However many keys somebody makes up; the oldest go first."""
    refusals = Refusals()
    for number in range(MOST_REFUSED + 10):
        refusals.add(f"{number:040}")
    assert [refusals.knows(f"{number:040}") for number in (0, 9, 10)] == [False, False, True]
