"""Steps that a cancellation must not interrupt."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio import workflow

T = TypeVar("T")


async def shielded(step: Coroutine[Any, Any, T]) -> T:
    """Run a step to its end, also when the workflow is canceled meanwhile.

    The cancellation is not lost: `workflow.cancellation_reason()` says it afterwards.
    """
    task = asyncio.create_task(step)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Without a reason the worker drops this workflow from its cache; that is not ours.
            if workflow.cancellation_reason() is None or task.cancelled():
                raise
            if task.done():
                return task.result()
