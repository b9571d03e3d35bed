"""Bodies of requests on a broker: each becomes EVT-AIG-001, or it has a clear fault."""

from typing import Any

import pytest

from contracts.broker import JobFormError, requested_event
from tests.contracts.wire_samples import REQUESTED, without

ID = REQUESTED["requestId"]
BARE = without(without(without(REQUESTED, "requestId"), "correlationId"), "callbackUrl")


def read(body: dict[str, Any], **usual: Any) -> dict[str, Any]:
    """With the message's own id and the settings' address, where they are given."""
    return requested_event(body, **{"correlation_id": None, "callback_url": None} | usual)


@pytest.mark.parametrize(
    "body",
    [
        REQUESTED,
        {"jobDetails": without(REQUESTED, "requestId"), "generationRequestId": ID},
        {"params": without(REQUESTED, "requestId"), "JobID": ID},
        {"params": REQUESTED, "JobID": ID.upper()},
    ],
)
def test_each_form_is_the_event(body: dict[str, Any]) -> None:
    """The id beside the fields is the requestId."""
    found = read(body)
    assert found | {"requestId": found["requestId"].lower()} == REQUESTED


def test_fields_may_stand_beside_their_holder() -> None:
    """Where both have one, the holder's counts."""
    beside = {"correlationId": "a", "userId": "b", "callbackUrl": "c", "payloadVersion": "1"}
    assert read({"params": {"userId": "d"}, "JobID": "e", "prompt": "lost", **beside}) == {
        **beside,
        "userId": "d",
        "requestId": "e",
    }


def test_what_is_missing_is_filled_in() -> None:
    """From the message, then the job's id; never over what is there."""
    job = {"params": BARE, "JobID": ID}
    assert read(job)["correlationId"] == ID
    assert read(job, correlation_id="m")["correlationId"] == "m"
    assert read(job, callback_url="s")["callbackUrl"] == "s"
    assert read(REQUESTED, correlation_id="m", callback_url="s") == REQUESTED
    assert "correlationId" not in read(BARE)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"params": 1, "JobID": ID}, "params must be an object"),
        ({"jobDetails": {}}, "generationRequestId is missing beside jobDetails"),
        ({"params": {}, "JobID": ""}, "JobID is missing beside params"),
        ({"params": {"requestId": "x"}, "JobID": ID}, "JobID and params.requestId differ"),
        ({"params": {}, "jobDetails": {}}, "send one of them"),
    ],
)
def test_what_is_no_form_is_named(body: dict[str, Any], said: str) -> None:
    """The text names fields, and no value."""
    with pytest.raises(JobFormError, match=said) as caught:
        read(body)
    assert ID not in str(caught.value)
