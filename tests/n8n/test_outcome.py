"""N8N as the receiver of outcomes: it believes the signature, and Duragen delivers until then."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from tests.n8n.world import OUTCOME, SIGNING_SECRET, World

BODY = '{"requestId": "ü", "status": "failed"}'


async def test_an_outcome_is_delivered_to_n8n(world: World) -> None:
    """Duragen signs it, and N8N says that it has it."""
    event = world.event(callbackUrl=world.n8n.url + OUTCOME)
    answer = await world.caller.post("/webhook/aig-001", json=event)
    assert answer.status_code == 202
    await world.becomes(event, "completed")


@pytest.mark.parametrize(("body", "status"), [("", 401), ("{", 422), ("\x00", 422)])
async def test_what_makes_no_sense_is_refused(world: World, body: str, status: int) -> None:
    """As any stranger is; what is no JSON by N8N itself, before the workflow begins."""
    headers = {"content-type": "application/json"}
    answer = await world.caller.post(OUTCOME, content=body.encode(), headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("age", "secret", "body", "status"),
    [
        (timedelta(), SIGNING_SECRET, BODY, 200),
        (timedelta(minutes=6), SIGNING_SECRET, BODY, 401),
        (timedelta(minutes=-6), SIGNING_SECRET, BODY, 401),
        (timedelta(), "whsec_" + "b3RoZXI=" * 4, BODY, 401),
        (timedelta(), SIGNING_SECRET, BODY + " ", 401),
    ],
    ids=["sound", "too old", "from the future", "another secret", "another body"],
)
async def test_who_is_believed(
    world: World, age: timedelta, secret: str, body: str, status: int
) -> None:
    """Signed with the secret, not five minutes off, and nothing changed since."""
    at = datetime.now(UTC) - age
    headers = {
        "webhook-id": "msg",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": "v1,b3RoZXI= " + Webhook(secret).sign("msg", at, BODY),
        "content-type": "application/json",
    }
    answer = await world.caller.post(OUTCOME, content=body.encode(), headers=headers)
    assert answer.status_code == status
    assert answer.json() == (
        {"status": "taken"}
        if status == 200
        else {"error": "the signature is missing, wrong or too old"}
    )
