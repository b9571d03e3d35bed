"""Temporal alone: a workflow of a generation's three steps, which do nothing.

It is the ceiling of what Duragen can make of the same server, SDK and machine. `python -m
benchmarks.bare_temporal ADDRESS` is its worker. Where there is a choice, it is the faster one:
small JSON, one task queue, no sandbox, no compression, no telemetry.

The last step writes the request's id and the time on standard output: what Odoo's time stamp is
for the others, for the price of one line.
"""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from benchmarks.load import Asking, Deliveries, fresh_stack
from deploy.local.stack import tether
from deploy.local.stack.layout import environment_of_part
from workflows.options import DELIVER_TIMEOUT

TASK_QUEUE = "bare"
READY = "ready"


@activity.defn
async def plan(_event: dict[str, Any]) -> None:
    """Nothing."""


@activity.defn
async def submit(_event: dict[str, Any]) -> None:
    """Nothing."""


@activity.defn
async def deliver(event: dict[str, Any]) -> None:
    """Say when."""
    print(event["requestId"], time.time(), flush=True)


@workflow.defn
class Bare:
    """A local activity and two activities, as a generation that needs no second attempt."""

    @workflow.run
    async def run(self, event: dict[str, Any]) -> None:
        """One after the other."""
        await workflow.execute_local_activity(plan, event, start_to_close_timeout=DELIVER_TIMEOUT)
        for step in (submit, deliver):
            await workflow.execute_activity(step, event, start_to_close_timeout=DELIVER_TIMEOUT)


@asynccontextmanager
async def bare_temporal() -> AsyncIterator[Asking]:
    """A fresh Temporal with the worker of this module, warmed up."""
    with fresh_stack(0, ("temporal",)) as stack:
        client = await _connected(stack.temporal_address)

        async def start(event: dict[str, Any]) -> None:
            identity = f"bare-{event['requestId']}"
            await client.start_workflow(Bare.run, event, id=identity, task_queue=TASK_QUEUE)

        async with _worker(stack.temporal_address) as deliveries:
            somebody = Asking(stack, start, deliveries)
            async with somebody.warm():
                yield somebody


@asynccontextmanager
async def _worker(address: str) -> AsyncIterator[Deliveries]:
    """A worker process, which ends with the block or with this process."""
    tethered = (sys.executable, "-I", "-S", tether.__file__, str(os.getpid()))
    program = (sys.executable, "-m", "benchmarks.bare_temporal", address)
    process = await asyncio.create_subprocess_exec(
        *tethered, *program, stdout=PIPE, env=environment_of_part()
    )
    assert process.stdout is not None
    try:
        if (await process.stdout.readline()).decode().strip() != READY:
            raise RuntimeError("the worker of bare Temporal does not start")
        yield _deliveries(process.stdout)
    finally:
        process.terminate()
        await process.wait()


async def _deliveries(output: asyncio.StreamReader) -> Deliveries:
    async for line in output:
        request_id, at = line.decode().split()
        yield request_id, float(at)


async def _connected(address: str) -> Client:
    return await Client.connect(address, grpc_compression=GrpcCompression.NONE)


async def _work(address: str) -> None:
    worker = Worker(
        await _connected(address),
        task_queue=TASK_QUEUE,
        workflows=[Bare],
        activities=[plan, submit, deliver],
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        graceful_shutdown_timeout=timedelta(seconds=1),
    )
    async with worker:
        print(READY, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_work(sys.argv[1]))
