"""The plan: routes to the model, the Odoo that gets the outcome, or why there is none."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.planning import PlanActivities
from activities.provider_health import CircuitBoard
from contracts.callbacks import CALLBACK_PATHS
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested, RequestField, RequestHead
from contracts.generation import Plan, Route
from contracts.tasks import PlanTask
from tests.activities.activity_runs import Attempt

ODOO = "http://odoo.example.com"
CALLBACKS = {ODOO: CALLBACK_PATHS}
ROUTES = (Route(provider="flux", model="flux-2-pro"), Route(provider="openai", model="gpt"))


CARRIES = {
    "flux": {RequestField.SEED: "seed"},
    "openai": {field: f"x_{field}" for field in RequestField},
}


def planner(model_id: UUID, *, notify: bool = True) -> PlanActivities:
    """A planner that knows one model and allows one Odoo."""
    models = {model_id: ROUTES}
    return PlanActivities(models, CALLBACKS, 321, CircuitBoard(()), carries=CARRIES, notify=notify)


def task(asked: GenerationRequested) -> PlanTask:
    """What the workflow asks for `asked`."""
    head = RequestHead.model_validate(asked.model_dump())
    return PlanTask(head=head, asks=asked.shaping_fields)


async def planned(asked: GenerationRequested) -> Plan:
    """The plan of `asked`."""
    return await Attempt().run(planner(asked.model_id).plan, task(asked))


@pytest.fixture
def asked(asked: GenerationRequested) -> GenerationRequested:
    """A request without any optional field."""
    shaping = ("negative_prompt", "seed", "inference_steps", "cfg_scale")
    return asked.model_copy(update=dict.fromkeys(shaping))


async def test_plan(asked: GenerationRequested) -> None:
    """A known model from an allowed Odoo: its routes in order, and the settings of today."""
    plan = await planned(asked)
    assert plan == Plan(routes=ROUTES, odoo=ODOO, deadline_seconds=321, notify=True)


async def test_fields_that_a_route_cannot_carry(asked: GenerationRequested) -> None:
    """A route that carries what is asked comes first; the other one says what it would ignore."""
    seeded = asked.model_copy(update={"seed": 7})
    assert (await planned(seeded)).routes == ROUTES
    plan = await planned(seeded.model_copy(update={"negative_prompt": "blurry", "cfg_scale": 3.5}))
    first, second = plan.routes
    assert (first.provider, first.ignores) == ("openai", ())
    ignores = (RequestField.NEGATIVE_PROMPT, RequestField.CFG_SCALE)
    assert (second.provider, second.ignores) == ("flux", ignores)


@pytest.mark.parametrize("route", [{"omit": ("seed",)}, {"parameters": {"seed": 1}}])
async def test_a_field_that_the_route_itself_decides(
    asked: GenerationRequested, route: dict[str, Any]
) -> None:
    """What is left out, or set by the settings, is not carried either."""
    routes = (ROUTES[0].model_copy(update=route),)
    board = CircuitBoard(())
    models = {asked.model_id: routes}
    plans = PlanActivities(models, CALLBACKS, 9, board, carries=CARRIES, notify=True)
    plan = await Attempt().run(plans.plan, task(asked.model_copy(update={"seed": 7})))
    assert [each.ignores for each in plan.routes] == [(RequestField.SEED,)]


async def test_unknown_model(asked: GenerationRequested) -> None:
    """An unknown modelId is our setting's fault; its Odoo gets the outcome."""
    plan = await Attempt().run(planner(uuid4()).plan, task(asked))
    assert plan.failure is not None
    assert (plan.failure.code, plan.odoo, plan.routes) == (ErrorCode.MODEL_CONFIG, ODOO, ())
    assert str(asked.model_id) in plan.failure.detail


@pytest.mark.parametrize(
    "callback_url",
    [
        "http://evil.example.com/duragen/v1/callback",
        "https://odoo.example.com/duragen/v1/callback",
        "http://odoo.example.com:8069/duragen/v1/callback",
        "http://odoo.example.com.evil.example/duragen/v1/callback",
        "http://" + "x" * 1_500 + ".example/duragen/v1/callback",
        "http://odoo.example.com/web/binary/upload",
        "http://odoo.example.com/" + "x" * 1_500,
    ],
)
async def test_foreign_callback(asked: GenerationRequested, callback_url: str) -> None:
    """A callback that is not on the allow list: nothing is made, nothing is delivered."""
    there = asked.model_dump(by_alias=True) | {"callbackUrl": callback_url}
    plan = await planned(GenerationRequested.model_validate(there))
    assert plan.failure is not None
    assert (plan.failure.code, plan.odoo, plan.routes) == (ErrorCode.INVALID_INPUT, None, ())
    assert "allow list" in plan.failure.detail
    assert len(plan.failure.detail) < 600


async def test_a_callback_in_an_odd_spelling(asked: GenerationRequested) -> None:
    """What two programs could read in two ways is not normalized: it is refused."""
    odd = f"{ODOO}/duragen/v1/callback/%2e%2e/%2e%2e/%2e%2e/web"
    plan = await planned(asked.model_copy(update={"callback_url": odd}))
    assert plan.failure is not None
    assert (plan.failure.code, plan.odoo, plan.routes) == (ErrorCode.INVALID_INPUT, None, ())
