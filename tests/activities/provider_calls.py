"""How the tests of image services call them, and what they look at afterwards."""

from collections.abc import Awaitable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from activities.errors import ProviderError
from activities.providers.flux import Flux, FluxSettings, job_links
from activities.providers.links import result_links
from activities.providers.openai import OpenAIImages, OpenAISettings
from contracts.events import GenerationRequested
from contracts.generation import Job, Route
from contracts.tasks import CollectTask, SubmitTask
from peers.clients import public_client, trusted

KEY = "sk-test-0123456789abcdefghijklmnop"
TRUSTED = trusted()
"""Made once: it reads all authorities of the system."""

LINK_SETTINGS = {"job_hosts", "result_hosts", "private_links"}
SHORT = 0.4
"""Seconds that a route allows where waiting in vain is the point."""


async def at_once() -> None:
    """Room for an image, without waiting."""


def openai(client: httpx.AsyncClient, base_url: str, key: str = KEY, **more: Any) -> OpenAIImages:
    """The adapter under test; `more` are its own, and settings of its links."""
    links = {name: more.pop(name) for name in LINK_SETTINGS & more.keys()}
    settings = OpenAISettings(kind="openai", base_url=base_url, api_key=SecretStr(KEY), **links)
    followed = result_links(settings, client, public_client(TRUSTED))
    return OpenAIImages(client, base_url, SecretStr(key), links=followed, **more)


def flux(client: httpx.AsyncClient, base_url: str, key: str = KEY, **more: Any) -> Flux:
    """The adapter under test; `more` are its own, and settings of its links."""
    links = {name: more.pop(name) for name in LINK_SETTINGS & more.keys()}
    settings = FluxSettings(kind="flux", base_url=base_url, api_key=SecretStr(KEY), **links)
    outside = public_client(TRUSTED)
    return Flux(
        client,
        base_url,
        SecretStr(key),
        jobs=job_links(settings, client, outside),
        results=result_links(settings, client, outside),
        **more,
    )


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
