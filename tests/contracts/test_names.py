"""Names that two parts must agree on."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import names

OWNERS = st.just("") | st.from_regex(names.OWNER_PATTERN, fullmatch=True)


@given(st.uuids(), OWNERS)
def test_workflow_id_and_back(request_id: UUID, owner: str) -> None:
    """A workflow id names its request and its owner, and only those."""
    workflow_id = names.workflow_id(request_id, owner)
    assert workflow_id == f"generation-{request_id}" + (f".{owner}" if owner else "")
    assert names.generation_id(workflow_id) == (request_id, owner)


@given(st.text() | st.text().map("generation-".__add__) | st.uuids().map(str))
def test_any_other_id_is_refused(text: str) -> None:
    """Any other id is refused by its name: ids that two spellings could reach do not exist."""
    with pytest.raises(ValueError, match="is not the id of a generation"):
        names.generation_id(text)


@pytest.mark.parametrize(
    "spelling",
    [
        "generation-0B6F2C1E-3A55-4A8E-9A51-6A8C9C1F0A01",
        "generation-0b6f2c1e3a554a8e9a516a8c9c1f0a01",
        "generation-{0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01}",
        "generation-urn:uuid:0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01",
        "Generation-0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01",
        "generation-generation-0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01",
        "generation-0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01.",
        "generation-0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01.Acme",
        "generation-0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01.a.b",
        "generation-0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01.a/b",
        "generation-0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01.a\n",
    ],
)
def test_other_spellings_are_refused(spelling: str) -> None:
    """Temporal compares ids letter by letter, and so does the inverse."""
    with pytest.raises(ValueError, match="is not the id of a generation"):
        names.generation_id(spelling)


def test_queues() -> None:
    """Paid calls and free polls of one provider have queues of their own."""
    assert names.provider_queue("flux") == "provider.flux"
    assert names.provider_jobs_queue("flux") == "provider.flux.jobs"


@given(st.uuids(), OWNERS)
def test_image_key(request_id: UUID, owner: str) -> None:
    """An image's key is found from its request, owner and format alone; owners share none."""
    folder = f"{owner}/" if owner else ""
    assert names.image_key(request_id, "png", owner) == f"generations/{folder}{request_id}.png"


def test_no_personal_search_attribute() -> None:
    """Search attributes stand in clear: ids, states and codes, and no prompt."""
    assert (
        *("RequestId", "CorrelationId", "UserId", "CampaignId"),
        *("GenerationStatus", "Provider", "ErrorCode", "Owner"),
    ) == names.SEARCH_ATTRIBUTES
