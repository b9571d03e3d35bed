"""Activities in the SDK's test environment, as the attempt of a history that a test makes up."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from temporalio.client import (
    Client,
    HeartbeatAsyncActivityInput,
    Interceptor,
    OutboundInterceptor,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

R = TypeVar("R")


class _Recorder(Interceptor):
    """The SDK's own seam: what `Heart.record` sends to the server stops here, written down."""

    def __init__(self, recorded: list[Any]) -> None:
        self.recorded = recorded

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002  # the base class's name
        """Wrap the client's calls."""
        return _Outbound(next, self.recorded)


class _Outbound(OutboundInterceptor):
    def __init__(self, next_: OutboundInterceptor, recorded: list[Any]) -> None:
        super().__init__(next_)
        self._recorded = recorded

    async def heartbeat_async_activity(
        self,
        input: HeartbeatAsyncActivityInput,  # noqa: A002  # the base class's name
    ) -> None:
        self._recorded.append(input.details[0])


class Attempt:
    """One attempt of an activity: what it recorded for the next one, and what it showed."""

    def __init__(self, number: int = 1, left_behind: Sequence[BaseModel] = ()) -> None:
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
            interceptors=[_Recorder(self.recorded)],
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
