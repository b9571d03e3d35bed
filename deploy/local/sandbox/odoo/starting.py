"""Starting what was charged: a try right after the commit, and an outbox behind it.

As the addon does it, through the gateway: a job whose start was lost is started later, once.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from starlette.applications import Starlette

from contracts.errors import ErrorCode
from contracts.events import GenerationFailed
from deploy.local.sandbox.odoo.faults import Hold
from deploy.local.sandbox.odoo.jobs import Jobs
from deploy.local.sandbox.odoo.ledger import Envelope, Ledger

logger = logging.getLogger(__name__)

HOOK_SECONDS = 5.0
OUTBOX_SECONDS = 1.0
"""Between two runs of the outbox; a real Odoo's come once a minute."""


class Starting:
    """Passes jobs and webhooks on to the gateway at `url`; `source` is our route for webhooks."""

    def __init__(self, jobs: Jobs, ledger: Ledger, url: str, key: str, source: str) -> None:
        self.hold = Hold()
        self._jobs = jobs
        self._ledger = ledger
        self._url = f"{url}/v1/generations"
        self._webhooks_url = f"{url}/v1/webhook-deliveries"
        self._source = source
        # One for all: a client of its own for each call would read all certificates each time.
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"}, timeout=HOOK_SECONDS, trust_env=False
        )

    async def after_commit(self) -> None:
        """Pass on what the call before has written."""
        fresh, self._jobs.fresh = self._jobs.fresh, []
        webhooks = self._jobs.webhooks
        deliveries, webhooks.fresh = webhooks.fresh, []
        if not fresh and not deliveries:
            return
        await self.hold.passed("committed")
        try:
            async with asyncio.timeout(HOOK_SECONDS):
                for job_id in fresh:
                    await self._pass_on(job_id)
                for delivery_id in deliveries:
                    await self._hand_over(delivery_id)
        except (TimeoutError, httpx.TransportError) as error:
            logger.warning("left to the outbox: %r", error)

    @asynccontextmanager
    async def running(self, _app: Starlette) -> AsyncIterator[None]:
        """The outbox, while the application runs."""
        outbox = asyncio.create_task(self._outbox())
        yield
        outbox.cancel()
        with suppress(asyncio.CancelledError):
            await outbox
        await self._client.aclose()

    async def _outbox(self) -> None:
        while True:
            try:
                for job_id in self._jobs.to_pass_on():
                    await self.hold.passed("committed")
                    await self._pass_on(job_id)
                for delivery_id in self._jobs.webhooks.waiting():
                    await self._hand_over(delivery_id)
            except httpx.HTTPError as error:
                logger.warning("the outbox waits: %r", error)
            await asyncio.sleep(OUTBOX_SECONDS)

    async def _pass_on(self, job_id: str) -> None:
        job = self._jobs.job(job_id)
        if job is None or job["state"] != "requested":
            return
        if job["cancel_requested"] == 1:
            answer = await self._client.delete(f"{self._url}/{job_id}")
            if answer.status_code == httpx.codes.NOT_FOUND and not job["started_at"]:
                self._end(job, ErrorCode.CANCELED)
            elif answer.is_success:
                self._jobs.cancel_passed_on(job_id)
            return
        if job["started_at"]:
            return
        answer = await self._client.post(self._url, json=json.loads(job["event"]))
        if answer.is_success:
            await self.hold.passed("started")
            self._jobs.started(job_id)
        elif answer.status_code in {httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY}:
            logger.error("job %s is refused: %s", job_id, answer.text)
            self._end(job, ErrorCode.INTERNAL)

    async def _hand_over(self, delivery_id: str) -> None:
        delivery = self._jobs.webhooks.delivery(delivery_id)
        if delivery is None or delivery["state"] != "waiting":
            return
        job = self._jobs.job(delivery["job_id"]) if delivery["job_id"] else None
        given = {
            "deliveryId": delivery_id,
            "source": self._source,
            "receiver": delivery["webhook_id"],
            **({"requestId": job["job_id"], "correlationId": job["correlation_id"]} if job else {}),
        }
        answer = await self._client.post(self._webhooks_url, json=given)
        if answer.is_success:
            self._jobs.webhooks.handed_over(delivery_id)
        else:
            logger.warning("webhook %s waits: %d", delivery_id, answer.status_code)

    def _end(self, job: dict[str, Any], code: ErrorCode) -> None:
        """End one that was never started: nothing was paid for it."""
        event = GenerationFailed(
            request_id=job["job_id"],
            correlation_id=job["correlation_id"],
            status="failed",
            error_message="never started",
            error_code=code,
            user_message="It was not started.",
        )
        body = event.model_dump_json(exclude_none=True)
        self._ledger.apply(event, Envelope("own", correlation_id=job["correlation_id"], body=body))
