"""Odoo and the gateway killed while an API user asks: charged once, made once, whoever dies.

`KILLS=20` makes the whole of it.
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from temporalio.client import Client

from contracts.names import GENERATION_WORKFLOW, WORKFLOW_ID_PREFIX
from deploy.local.real_odoo.beside import Beside
from tests.developers.world import PATIENCE_SECONDS
from tests.odoo.api_user import ApiUser
from tests.odoo.desk import CAPTURED, NOW

TRIES = int(os.environ.get("KILLS", "2"))


@pytest.fixture
async def user(threaded: Beside) -> AsyncIterator[ApiUser]:
    """With a credit for each try."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        yield await ApiUser.of(threaded, http, TRIES + 1)


async def test_whoever_is_killed(user: ApiUser, threaded: Beside) -> None:
    """The caller repeats with the same key until it is answered: one job, one charge, one image."""
    began = time.monotonic()
    jobs = {(first := str(uuid.uuid4())): await _until_answered(user, first)}
    usual = time.monotonic() - began  # kills are spread over it, and a little beyond
    for number in range(TRIES):
        key = str(uuid.uuid4())
        asking = asyncio.create_task(_until_answered(user, key))
        await asyncio.sleep(usual * 1.2 * number / TRIES)
        killed = threaded.odoo if number % 2 else threaded.stack.supervisor("gateway")
        killed.kill()
        jobs[key] = await asking
    await asyncio.to_thread(threaded.odoo.supervisor.wait_ready, PATIENCE_SECONDS)
    await asyncio.to_thread(threaded.stack.supervisor("gateway").wait_ready, PATIENCE_SECONDS)
    assert sorted(await user.job_ids()) == sorted(jobs.values())
    assert len(set(jobs.values())) == TRIES + 1
    # What a kill left behind is the outbox's; it comes each minute.
    user.desk.sql(
        f"UPDATE duragen_generation_request SET next_start_at = {NOW}"
        f" WHERE user_id = {user.user_id} AND next_start_at IS NOT NULL"
    )
    await asyncio.to_thread(user.desk.runs, "cron_start")
    for job_id in jobs.values():
        job = await user.becomes(job_id, "completed", "failed", "canceled")
        assert (job["status"], user.ledger(job_id)) == ("completed", CAPTURED)
        assert user.desk.paid({"correlation_uuid": job["correlationId"]}) == 1
        assert user.desk.known({"request_uuid": job_id})["state"] == "completed"
    assert await user.balance() == 0
    # And nothing was made that Odoo does not know.
    rows = user.desk.sql("SELECT request_uuid FROM duragen_generation_request")
    made = {each async for each in _generations(threaded)}
    assert made <= {row[0] for row in rows}


async def _generations(threaded: Beside) -> AsyncIterator[str]:
    client = await Client.connect(threaded.stack.temporal_address)
    async for each in client.list_workflows(f"WorkflowType = '{GENERATION_WORKFLOW}'"):
        yield each.id.removeprefix(WORKFLOW_ID_PREFIX)[:36]


async def _until_answered(user: ApiUser, key: str) -> str:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(httpx.TransportError):
                answer = await user.asks(idempotency_key=key)
                if answer.status_code == 202:
                    job_id: str = answer.json()["jobId"]
                    return job_id
                assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.1)
