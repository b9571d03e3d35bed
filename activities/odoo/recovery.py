"""When an Odoo was away: is it back, and the release of what is parked for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import NamedTuple

import httpx
from pydantic import ValidationError
from temporalio import activity
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowUpdateFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeat import beating
from activities.odoo.gate import OdooGates
from contracts.errors import DeliveryError
from contracts.generation import DeliveryTrouble, GenerationView
from contracts.names import (
    ERROR_CODE,
    PARKED_MEMO,
    PARKED_QUERY,
    PROBE_ODOO_ACTIVITY,
    RELEASE_ACTIVITY,
    RETRY_DELIVERY_UPDATE,
)
from contracts.odoo_health import OdooProbed, OdooProbeTask, Released, ReleaseTask
from contracts.tasks import DeliveryDecision
from peers.bodies import BodyError
from peers.http import call

LOOK_SECONDS = 10.0
"""For one GET; an Odoo that needs longer would not take outcomes either."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024

TRIAL_SECONDS = 90.0
"""For one delivery (60 s) and its wait for a free slot."""

RELEASE_SECONDS = 30.0
"""How long the release waits for one outcome, which Odoo may stumble over again and again."""

MOST_RELEASED_A_SECOND = 50.0
"""An Odoo that has just come back has other work, too."""

PARKED_UNAVAILABLE = f"{PARKED_QUERY} AND {ERROR_CODE} = '{DeliveryError.ODOO_UNAVAILABLE}'"
"""What Odoo refused is none of them: that it is back changes nothing there."""

_RELEASE = DeliveryDecision(by="odoo-health", reason="Odoo is back")
_TRIAL = DeliveryDecision(by="odoo-health", reason="is Odoo back?", trial=True)


class OdooAddress(NamedTuple):
    """Where an Odoo is asked whether it is back, and how many outcomes it gets then."""

    url: str
    releases_per_second: float
    releases_at_once: int
    silent: Callable[[], Awaitable[str | None]] | None = None
    """Asks in the place of a GET of `url`: why nothing answers, None when something does."""


class _Parked(NamedTuple):
    workflow_id: str
    started: datetime
    held: bool


class OdooRecovery:
    """Every Odoo of the settings, by origin."""

    def __init__(
        self,
        client: Client,
        http: httpx.AsyncClient,
        gates: OdooGates,
        odoos: Mapping[str, OdooAddress],
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._client = client
        self._http = http
        self._gates = gates
        self._odoos = odoos
        self._look_seconds = look_seconds

    @activity.defn(name=PROBE_ODOO_ACTIVITY)
    async def probe_odoo(self, task: OdooProbeTask) -> OdooProbed:
        """Ask its address; when something answers, deliver one parked outcome as a trial.

        Another one each time: one outcome may be what Odoo stumbles over. Raises RPCError.
        """
        odoo = self._odoos.get(task.odoo)
        if odoo is None:
            return OdooProbed(found="not in the settings", unknown=True)
        async with beating():
            looking = asyncio.create_task(self._look(task, odoo))
            leaving = asyncio.create_task(activity.wait_for_worker_shutdown())
            try:
                await asyncio.wait({looking, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if looking.done():
                    return looking.result()
            finally:
                looking.cancel()
                leaving.cancel()
        return OdooProbed(found="the worker that asked has left")

    @activity.defn(name=RELEASE_ACTIVITY)
    async def release_parked(self, task: ReleaseTask) -> Released:
        """Have what is parked for this Odoo delivered, the oldest first, at a bounded rate.

        Stops when Odoo is away again, or the worker leaves; run again, it goes on with the rest.
        Raises RPCError.
        """
        odoo = self._odoos.get(task.odoo)
        if odoo is None:
            return Released()
        rate, released = min(MOST_RELEASED_A_SECOND, odoo.releases_per_second), 0
        loop, running = asyncio.get_running_loop(), set[asyncio.Task[int]]()
        async with beating():
            parked = [each async for each in self._parked(task.odoo)]
            chosen = [each for each in parked if each.held or not task.only_held]
            due = loop.time()
            for each in sorted(chosen, key=lambda each: each.started):
                # No more than Odoo takes: what is begun and waits would be in nobody's memory.
                if len(running) >= odoo.releases_at_once:
                    ended, running = await asyncio.wait(running, return_when="FIRST_COMPLETED")
                    released += sum(task.result() for task in ended)
                if activity.is_worker_shutdown() or await self._gates.is_away(task.odoo):
                    return Released(released=released, stopped=True)
                await asyncio.sleep(due - loop.time())
                due = loop.time() + 1 / rate
                running.add(asyncio.create_task(self._release(each.workflow_id)))
            return Released(released=released + sum(await asyncio.gather(*running)))

    async def _look(self, task: OdooProbeTask, odoo: OdooAddress) -> OdooProbed:
        if odoo.silent:
            silent, may_be_back = await odoo.silent(), False
        else:
            silent, may_be_back = await self._silent(odoo.url)
        if silent and not (may_be_back and task.thorough):
            return OdooProbed(found=silent)
        tried = set(task.tried)
        again: list[str] = []
        async for each in self._parked(task.odoo):
            if each.workflow_id in tried:
                again.append(each.workflow_id)
            elif probed := await self._try(each.workflow_id):
                return probed
        # All were tried before: the longest ago is the next.
        for workflow_id in sorted(again, key=task.tried.index):
            if probed := await self._try(workflow_id):
                return probed
        if silent:
            return OdooProbed(found=silent)
        return OdooProbed(back=True, found="it answers, and nothing is parked")

    async def _silent(self, url: str) -> tuple[str | None, bool]:
        """Why nothing answers at `url`, None when something does; and whether a trial may succeed.

        A proxy, or a broken page, may answer 5xx there while Odoo takes outcomes.
        """
        try:
            answer = await call(
                self._http,
                "GET",
                url,
                timeout_seconds=self._look_seconds,
                max_bytes=MAX_ANSWER_BYTES,
            )
        except BodyError:
            return None, True  # a page, however large, however packed
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{url} did not answer a look: {str(error) or type(error).__name__}", False
        if answer.status >= 500:
            return f"{url} answered {answer.status} to a look", True
        return None, True

    async def _try(self, workflow_id: str) -> OdooProbed | None:
        """One attempt to deliver this outcome; None when it is not parked any more."""
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            async with asyncio.timeout(TRIAL_SECONDS):
                view = await handle.execute_update(
                    RETRY_DELIVERY_UPDATE, _TRIAL, result_type=GenerationView
                )
        except WorkflowUpdateFailedError:
            return None  # refused: it is being tried just now, or was given up
        except (TimeoutError, RPCTimeoutOrCancelledError):
            return OdooProbed(found=f"the trial {workflow_id} has no end yet", trial=workflow_id)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None  # it has ended
            raise
        trouble = view.parked
        if trouble and trouble.code == DeliveryError.STORE_UNAVAILABLE:
            # Nothing came to Odoo. It answers looks: the next deliveries say whether it is back.
            return OdooProbed(back=True, found=trouble.detail, trial=workflow_id)
        if trouble is None or trouble.code != DeliveryError.ODOO_UNAVAILABLE:
            return OdooProbed(back=True, found="it took or refused an outcome", trial=workflow_id)
        return OdooProbed(found=trouble.detail, trial=workflow_id)

    async def _release(self, workflow_id: str) -> int:
        """Have it tried now, and wait for that; 1 when there was something to try."""
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await handle.execute_update(RETRY_DELIVERY_UPDATE, _RELEASE)
        except (WorkflowUpdateFailedError, TimeoutError, RPCTimeoutOrCancelledError):
            return 0  # it was given up just now; or the try goes on without us
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended
                raise
            return 0
        return 1

    async def _parked(self, odoo: str) -> AsyncIterator[_Parked]:
        """Outcomes that are parked for this Odoo and tried; of an older version for others, too."""
        async for found in self._client.list_workflows(PARKED_UNAVAILABLE):
            try:
                memo = await found.memo_value(PARKED_MEMO, None)
                trouble = DeliveryTrouble.model_validate(memo)
            except ValidationError:  # parked by a version that left no memo
                trouble = DeliveryTrouble(code="", detail="")
            if trouble.odoo in {odoo, None} and not trouble.rests:
                yield _Parked(found.id, found.start_time, trouble.held)
