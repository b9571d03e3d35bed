"""The bound of examples sees memory that is gone again, and time that was computed."""

import time

import pytest

from tests import bounded as bounds
from tests.bounded import within_bounds


@within_bounds
def allocate(mebibytes: int) -> None:
    """Hold so much for a moment."""
    assert bytearray(mebibytes * 1024 * 1024)


@within_bounds
def compute(seconds: float) -> None:
    """Take so much of the CPU."""
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        pass


def test_memory() -> None:
    """Whether it is still held does not matter."""
    allocate(1)
    with pytest.raises(AssertionError, match="MiB more"):
        allocate(160)


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the CPU."""
    compute(0)
    monkeypatch.setattr(bounds, "MOST_CPU_SECONDS", 0.05)
    with pytest.raises(AssertionError, match="s of CPU"):
        compute(0.06)
