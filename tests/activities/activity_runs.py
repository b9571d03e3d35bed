"""Activities in the SDK's test environment, as the attempt of a history that a test makes up."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import (
    AsyncActivityCancelledError,
    Client,
    HeartbeatAsyncActivityInput,
    Interceptor,
    OutboundInterceptor,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

R = TypeVar("R")


class _Recorder(Interceptor):
    """The SDK's own seam: what `Heart.record` sends to the server stops here, written down."""

    def __init__(self, attempt: "Attempt") -> None:
        self._attempt = attempt

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002  # the base class's name
        """Wrap the client's calls."""
        return _Outbound(next, self._attempt)


class _Outbound(OutboundInterceptor):
    def __init__(self, next_: OutboundInterceptor, attempt: "Attempt") -> None:
        super().__init__(next_)
        self._attempt = attempt

    async def heartbeat_async_activity(
        self,
        input: HeartbeatAsyncActivityInput,  # noqa: A002  # the base class's name
    ) -> None:
        if not self._attempt.reachable:
            raise RPCError("nobody there", RPCStatusCode.UNAVAILABLE, b"")
        self._attempt.recorded.append(input.details[0])
        if self._attempt.answers_canceled and self._attempt.environment:
            self._attempt.environment.cancel()
            raise AsyncActivityCancelledError(ActivityCancellationDetails(cancel_requested=True))


class Attempt:
    """One attempt of an activity: what it recorded for the next one, and what it showed.

    A server that is not `reachable` takes no record; one that `answers_canceled` asks the attempt
    to stop when it records something.
    """

    def __init__(
        self, number: int = 1, left_behind: Sequence[BaseModel] = (), *, reachable: bool = True
    ) -> None:
        self.reachable = reachable
        self.answers_canceled = False
        self.recorded: list[Any] = []
        self.shown: list[Any] = []
        self._number = number
        # As a server hands it out: plain JSON values, not models.
        self._details = [mark.model_dump(mode="json") for mark in left_behind]
        self.environment: ActivityEnvironment | None = None

    async def run(self, method: Callable[[Any], Awaitable[R]], task: BaseModel) -> R:
        """Run the activity's method."""
        # Lazy, so it never connects: nobody listens there.
        client = await Client.connect(
            "127.0.0.1:1",
            lazy=True,
            interceptors=[_Recorder(self)],
            data_converter=pydantic_data_converter,
        )
        environment = ActivityEnvironment(client)
        environment.info = dataclasses.replace(
            ActivityEnvironment.default_info(),
            attempt=self._number,
            heartbeat_details=self._details,
            heartbeat_timeout=timedelta(seconds=15),
        )
        environment.on_heartbeat = self.shown.append
        self.environment = environment
        return await environment.run(method, task)

    async def failure(self, method: Callable[[Any], Awaitable[object]], task: BaseModel) -> Any:
        """Run the activity's method; the ApplicationError that it must end with."""
        with pytest.raises(ApplicationError) as caught:
            await self.run(method, task)
        return caught.value
