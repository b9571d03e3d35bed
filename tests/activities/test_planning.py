"""The plan: routes to the model, the Odoo that gets the outcome, or why there is none."""

from uuid import uuid4

import pytest

from activities.planning import PlanActivities
from activities.provider_health import CircuitBoard
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Plan, Route
from tests.activities.activity_runs import Attempt

ODOO = "http://odoo.example.com"
ROUTES = (Route(provider="flux", model="flux-2-pro"), Route(provider="openai", model="gpt"))


async def planned(asked: GenerationRequested) -> Plan:
    """The plan of `asked` where one Odoo is allowed."""
    activities = PlanActivities(
        {asked.model_id: ROUTES}, {ODOO}, 321, CircuitBoard(()), notify=True
    )
    return await Attempt().run(activities.plan, asked)


async def test_plan(asked: GenerationRequested) -> None:
    """A known model from an allowed Odoo: its routes in order, and the settings of today."""
    plan = await planned(asked)
    assert plan == Plan(routes=ROUTES, odoo=ODOO, deadline_seconds=321, notify=True)


async def test_unknown_model(asked: GenerationRequested) -> None:
    """An unknown modelId is our setting's fault; its Odoo gets the outcome."""
    activities = PlanActivities({uuid4(): ROUTES}, {ODOO}, 321, CircuitBoard(()), notify=False)
    plan = await Attempt().run(activities.plan, asked)
    assert plan.failure is not None
    assert (plan.failure.code, plan.odoo, plan.routes) == (ErrorCode.MODEL_CONFIG, ODOO, ())
    assert str(asked.model_id) in plan.failure.detail


@pytest.mark.parametrize(
    "callback_url",
    [
        "http://evil.example.com/callback",
        "https://odoo.example.com/callback",
        "http://odoo.example.com:8069/callback",
        "http://odoo.example.com.evil.example/callback",
        "http://" + "x" * 1_500 + ".example/callback",
    ],
)
async def test_foreign_callback(asked: GenerationRequested, callback_url: str) -> None:
    """A callback that is not on the allow list: nothing is made, nothing is delivered."""
    there = asked.model_dump(by_alias=True) | {"callbackUrl": callback_url}
    plan = await planned(GenerationRequested.model_validate(there))
    assert plan.failure is not None
    assert (plan.failure.code, plan.odoo, plan.routes) == (ErrorCode.INVALID_INPUT, None, ())
    assert "allow list" in plan.failure.detail
