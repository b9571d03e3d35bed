"""Heartbeats: on their own while a call lasts, and marks that the server is known to have."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.client import (
    AsyncActivityCancelledError,
    Client,
    HeartbeatAsyncActivityInput,
    Interceptor,
    OutboundInterceptor,
)
from temporalio.testing import ActivityEnvironment

from activities.collect import JobMark
from activities.heartbeat import beating
from tests.activities.activity_runs import Attempt

FIRST, SECOND = JobMark(job_id="j-1"), JobMark(job_id="j-1", percent=50)


async def test_beats_by_itself() -> None:
    """While a call lasts the heart beats by itself, with the details that were set last."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info, heartbeat_timeout=timedelta(milliseconds=10)
    )
    shown: list[BaseModel] = []
    beaten = asyncio.Event()

    def note(mark: BaseModel) -> None:
        shown.append(mark)
        if len(shown) == 5:
            beaten.set()

    environment.on_heartbeat = note

    async def call() -> None:
        async with beating(FIRST) as heart:
            heart.beat(SECOND)
            await beaten.wait()

    await environment.run(call)
    assert shown == [SECOND] * 5


async def test_record_is_shown_and_sent() -> None:
    """A recorded mark goes to the server at once, and is what the heart beats with from then on."""

    async def call(mark: BaseModel) -> None:
        async with beating(FIRST) as heart:
            await heart.record(mark)
            heart.beat()

    attempt = Attempt()
    await attempt.run(call, SECOND)
    assert attempt.recorded == [SECOND]
    assert attempt.shown == [SECOND, SECOND]


class _Canceling(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002  # the base class's name
        return _SaysCanceled(next)


class _SaysCanceled(OutboundInterceptor):
    async def heartbeat_async_activity(
        self,
        input: HeartbeatAsyncActivityInput,  # noqa: A002, ARG002  # the base class's name
    ) -> None:
        _said.set()
        raise AsyncActivityCancelledError


_said = asyncio.Event()


async def test_cancellation_arrives_when_recording() -> None:
    """A server that answers "canceled" to a mark: nothing more is done before the SDK says so."""
    client = await Client.connect("127.0.0.1:1", lazy=True, interceptors=[_Canceling()])
    went_on = False

    @activity.defn
    async def call() -> None:
        nonlocal went_on
        async with beating(FIRST) as heart:
            await heart.record(SECOND)
            went_on = True

    environment = ActivityEnvironment(client)
    running = asyncio.create_task(environment.run(call))
    await _said.wait()
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not went_on
