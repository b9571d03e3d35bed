"""What stands in history: small, tolerant of newer versions, and clear about the end."""

import pytest
from pydantic import ValidationError

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import (
    MAX_DETAIL_CHARACTERS,
    Failure,
    GenerationState,
    Outcome,
    Plan,
    Route,
    StoredImage,
)
from contracts.tasks import SubmitTask
from tests.contracts.wire_samples import REQUESTED

IMAGE = StoredImage(
    key="generations/a.png", format="png", size=1, width=64, height=64, sha256="0" * 64
)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome(image=IMAGE), GenerationState.COMPLETED),
        (Outcome(failure=Failure(code=ErrorCode.CANCELED, detail="")), GenerationState.CANCELED),
        (Outcome(failure=Failure(code=ErrorCode.INTERNAL, detail="")), GenerationState.FAILED),
        (Outcome(), GenerationState.FAILED),
    ],
)
def test_state_of_an_outcome(outcome: Outcome, state: GenerationState) -> None:
    """An image is completed, a cancellation canceled, everything else failed."""
    assert outcome.state is state
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_newer_histories_are_readable() -> None:
    """A field that a newer version wrote does not stop an older worker."""
    text = '{"provider": "flux", "model": "flux-2-pro", "addedLater": {"a": 1}}'
    assert Route.model_validate_json(text) == Route(provider="flux", model="flux-2-pro")


def test_older_histories_are_readable() -> None:
    """The fields of the first version are enough for every model of the plan."""
    plan = Plan.model_validate_json(
        '{"routes": [{"provider": "a", "model": "b"}], "odoo": "http://o"}'
    )
    assert plan.deadline_seconds == 600
    assert plan.routes[0].timeout_seconds == 120


@pytest.mark.parametrize("seconds", [0, -1, 3_601, float("nan")])
def test_timeout_of_a_route(seconds: float) -> None:
    """A route that could wait for ever, or not at all, is refused."""
    with pytest.raises(ValidationError):
        Route(provider="flux", model="flux-2-pro", timeout_seconds=seconds)


@pytest.mark.parametrize(
    ("parameters", "found"), [({}, "png"), ({"output_format": "jpeg"}, "jpeg")]
)
def test_image_format_of_a_route(parameters: dict[str, str], found: str) -> None:
    """The format asked for is the route's parameter, PNG without one."""
    assert Route(provider="p", model="m", parameters=parameters).image_format == found


def test_details_are_bounded() -> None:
    """No failure carries more than a page of an image service's answer into history."""
    with pytest.raises(ValidationError):
        Failure(code=ErrorCode.INTERNAL, detail="x" * (MAX_DETAIL_CHARACTERS + 1))


def test_task_round_trip() -> None:
    """An activity's input comes out of history as it went in."""
    task = SubmitTask(
        request=GenerationRequested.model_validate(REQUESTED),
        route=Route(provider="flux", model="flux-2-pro", parameters={"safety_tolerance": 2}),
    )
    assert SubmitTask.model_validate_json(task.model_dump_json()) == task
