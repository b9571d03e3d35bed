"""A request's own deadline, `cancelAt`: canceled then, and free while nothing was begun."""

from datetime import UTC, datetime, timedelta

from contracts.errors import ErrorCode
from tests.lab import Lab, working
from tests.workflows.reservations import begin, ended
from workers.settings import Settings


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_not_begun_before_it(lab: Lab, settings: Settings) -> None:
    """No worker until then: canceled at once, and no service was called."""
    request = lab.request(cancel_at=_in(-1))
    handle = await begin(lab, request)
    async with working(lab.client, settings):
        word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.calls) == ("canceled", [])
    [delivered] = ledgers.deliveries
    assert delivered["event"]["errorCode"] == ErrorCode.CANCELED
    assert not delivered["event"].get("mayHaveBeenPaid")


async def test_it_ends_what_is_under_way(lab: Lab, worker: None) -> None:
    """As a cancellation by the user does: a call that never answers is given up."""
    await lab.break_images({"kind": "accept_then_hang"})
    for seconds in (3, 10, 30):  # on a slow machine the first may pass before the call is made
        request = lab.request(cancel_at=_in(seconds))
        handle = await begin(lab, request)
        word, ledgers = await ended(lab, request, handle)
        assert word == "canceled"
        if ledgers.paid:
            break
    assert ledgers.paid == 1
    [delivered] = ledgers.deliveries
    assert delivered["event"]["mayHaveBeenPaid"] is True


async def test_an_image_in_time(lab: Lab, worker: None) -> None:
    """The deadline is forgotten, and costs one timer."""
    request = lab.request(cancel_at=_in(600))
    handle = await begin(lab, request)
    word, ledgers = await ended(lab, request, handle)
    assert (word, ledgers.paid) == ("completed", 1)
