"""How the tests of image services call them, and what they look at afterwards."""

from collections.abc import Awaitable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from activities.errors import ProviderError
from activities.providers.flux import Flux
from activities.providers.openai import OpenAIImages
from contracts.events import GenerationRequested
from contracts.generation import Job, Route
from contracts.tasks import CollectTask, SubmitTask

KEY = "sk-test-0123456789abcdefghijklmnop"
SHORT = 0.4
"""Seconds that a route allows where waiting in vain is the point."""


async def at_once() -> None:
    """Room for an image, without waiting."""


def openai(client: httpx.AsyncClient, base_url: str, key: str = KEY, **more: Any) -> OpenAIImages:
    """The adapter under test."""
    return OpenAIImages(client, base_url, SecretStr(key), **more)


def flux(client: httpx.AsyncClient, base_url: str, key: str = KEY, **more: Any) -> Flux:
    """The adapter under test."""
    return Flux(client, base_url, SecretStr(key), **more)


def submission(asked: GenerationRequested, *, seconds: float = 30, **parameters: Any) -> SubmitTask:
    """The task of a submission whose route allows `seconds`."""
    route = Route(provider="p", model="m-1", parameters=parameters, timeout_seconds=seconds)
    return SubmitTask(request=asked, route=route)


def collection(asked: GenerationRequested, polling_url: str, *, seconds: float = 30) -> CollectTask:
    """The task of waiting for the job that is polled at `polling_url`."""
    route = Route(provider="p", model="m-1", timeout_seconds=seconds)
    return CollectTask(request=asked, route=route, job=Job(id="j-1", polling_url=polling_url))


async def refusal(call: Awaitable[object]) -> ProviderError:
    """The error that `call` must end with; the key is nowhere in it."""
    with pytest.raises(ProviderError) as caught:
        await call
    error = caught.value
    assert KEY not in f"{error} {error.failure!r} {error.args}"
    return error
