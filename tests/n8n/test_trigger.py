"""N8N as the trigger: its webhook in, Duragen called, its answer passed on."""

from tests.n8n.world import START, World


async def test_the_old_webhook_starts_a_generation(world: World) -> None:
    """From N8N's webhook to Odoo; the same request again starts and costs nothing more."""
    event = world.event()
    first = await world.caller.post(START, json=event)
    assert (first.status_code, first.json()["requestId"]) == (202, event["requestId"])
    await world.becomes(event, "completed")
    again = await world.caller.post(START, json=event)
    assert again.status_code == 202
    assert again.json()["workflowId"] == first.json()["workflowId"]
    assert again.json()["created"] is False
    assert (await world.informed()).count(event["requestId"]) == 1
    assert await world.paid(event) == 1
