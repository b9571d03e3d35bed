"""What is kept of one generation in Temporal, in the store and on this disk; and its removal."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.bucket import Bucket
from activities.spool import files_of, owners_in
from contracts import names
from contracts.names import OWNER_PATTERN, GenerationId

LOOK_SECONDS = 0.1
CLOSE_SECONDS = 60.0
"""How long a canceled generation may take to end: its callback to Odoo has a minute."""

DELETE_SECONDS = 90.0
"""How long the server may take to delete a history; it does so in the background."""


class Run(NamedTuple):
    """One execution of a generation's workflow, with a history of its own."""

    run_id: str
    status: str
    running: bool


class Kept(NamedTuple):
    """What is kept of a generation, where we can reach it."""

    generation: GenerationId
    runs: tuple[Run, ...]
    objects: tuple[str, ...]
    """Keys in the store."""
    files: tuple[Path, ...]
    """In the spool of this machine."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return any(run.running for run in self.runs)

    def lines(self) -> list[str]:
        """For people, one thing a line."""
        return [
            *(f"history   run {run.run_id} ({run.status})" for run in self.runs),
            *(f"store     {key}" for key in self.objects),
            *(f"spool     {path}" for path in self.files),
        ]


class Eraser:
    """Finds and removes. Raises RPCError, StoreError, OSError: what was removed stays removed."""

    def __init__(self, client: Client, bucket: Bucket, spool: Path) -> None:
        self._client = client
        self._bucket = bucket
        self._spool = spool
        self._owners: list[str] | None = None
        """Who has images in the store, once it was asked."""

    async def of_user(self, user_id: UUID) -> list[GenerationId]:
        """The generations of a user that Temporal still has, each once."""
        return await self._listed(names.USER_ID, user_id)

    async def of_request(self, request_id: UUID) -> list[GenerationId]:
        """The generations of that requestId of which something is kept; owners may share one."""
        direct = GenerationId(request_id)
        listed = {each.owner for each in await self._listed(names.REQUEST_ID, request_id)}
        if await self._runs(direct):  # the server's index may not have it yet
            listed.add("")
        stored = await asyncio.to_thread(self._stored, request_id)
        found = listed | stored | owners_in(self._spool, request_id)
        owners = sorted(each for each in found if not each or re.fullmatch(OWNER_PATTERN, each))
        return [GenerationId(request_id, owner) for owner in owners]

    async def look(self, generation: GenerationId) -> Kept:
        """What is there now; nothing is changed."""
        return Kept(
            generation,
            tuple(await self._runs(generation)),
            tuple(await asyncio.to_thread(self._objects, generation)),
            tuple(files_of(self._spool, generation)),
        )

    async def cancel(self, generation: GenerationId, seconds: float = CLOSE_SECONDS) -> bool:
        """Ask for its cancellation, and wait for its end; False when it goes on."""
        handle = self._client.get_workflow_handle(names.workflow_id(*generation))
        try:
            await handle.cancel()
            async with asyncio.timeout(seconds):
                running = WorkflowExecutionStatus.RUNNING
                while (await handle.describe()).status is running:  # noqa: ASYNC110  # the server's
                    await asyncio.sleep(LOOK_SECONDS)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it ended meanwhile
                raise
        except TimeoutError:
            return False
        return True

    async def erase(self, kept: Kept) -> list[str]:
        """Remove it; a line for each thing that was removed.

        The history goes last: as long as it is there, the generation is found by its user.
        """
        removed = [
            f"store     {key}"
            for key in await asyncio.to_thread(self._bucket.erase, kept.generation)
        ]
        for path in files_of(self._spool, kept.generation):
            await asyncio.to_thread(path.unlink, missing_ok=True)
            removed.append(f"spool     {path}")
        for run in kept.runs:
            await self._delete(names.workflow_id(*kept.generation), run.run_id)
            removed.append(f"history   run {run.run_id}")
        await self._gone(kept)
        return removed

    async def _listed(self, attribute: str, value: UUID) -> list[GenerationId]:
        query = f"WorkflowType = '{names.GENERATION_WORKFLOW}' AND {attribute} = '{value}'"
        seen: dict[GenerationId, None] = {}
        async for found in self._client.list_workflows(query):
            with suppress(ValueError):  # an id that none of our entry points gives
                seen[names.generation_id(found.id)] = None
        return list(seen)

    def _stored(self, request_id: UUID) -> set[str]:
        """Whose images of that requestId are in the store."""
        if self._owners is None:
            self._owners = ["", *self._bucket.owners()]
        each = (GenerationId(request_id, owner) for owner in self._owners)
        return {generation.owner for generation in each if self._bucket.images_of(generation)}

    def _objects(self, generation: GenerationId) -> list[str]:
        old = [f"{key} (version {v})" for key, v in self._bucket.old_versions(generation)]
        return [*self._bucket.objects_of(generation), *old]

    async def _runs(self, generation: GenerationId) -> list[Run]:
        """All runs: the server's index has those before, and may not have the last one yet."""
        workflow_id = names.workflow_id(*generation)
        runs: dict[str, Run] = {}
        async for found in self._client.list_workflows(f"WorkflowId = '{workflow_id}'"):
            runs[found.run_id] = _run(found.run_id, found.status)
        try:
            last = await self._client.get_workflow_handle(workflow_id).describe()
            runs[last.run_id] = _run(last.run_id, last.status)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return list(runs.values())

    async def _delete(self, workflow_id: str, run_id: str) -> None:
        request = DeleteWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        )
        try:
            await self._client.workflow_service.delete_workflow_execution(request)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _gone(self, kept: Kept) -> None:
        """Wait until the server has deleted it. Raises TimeoutError."""
        async with asyncio.timeout(DELETE_SECONDS):
            while await self._runs(kept.generation):  # noqa: ASYNC110  # the server knows
                await asyncio.sleep(LOOK_SECONDS)


def _run(run_id: str, status: WorkflowExecutionStatus | None) -> Run:
    name = status.name.lower().replace("_", " ") if status else "unknown"
    return Run(run_id, name, status is WorkflowExecutionStatus.RUNNING)
