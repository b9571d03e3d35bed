"""Which optional request fields a kind carries, as its registry entry says and as it sends them."""

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from activities.providers.kind import Parts
from activities.providers.kubernetes.job_object import job_object
from activities.providers.kubernetes.objects import JobRef
from activities.providers.registry import REGISTRY, kind_of
from activities.providers.service import JobService
from contracts.events import GenerationRequested, RequestField
from tests.activities.http_peer import Peer, answer
from tests.activities.provider_calls import at_once, flux, openai, refusal, submission
from workers.clients import Clients

NAMES = {
    RequestField.NEGATIVE_PROMPT: ("negative_prompt", "negativePrompt"),
    RequestField.SEED: ("seed",),
    RequestField.INFERENCE_STEPS: ("num_inference_steps", "inferenceSteps"),
    RequestField.CFG_SCALE: ("guidance_scale", "cfgScale"),
}
"""What the services call them."""


def settings_of(kind: str, **more: Any) -> Any:
    """Settings of a kind, as good as any."""
    return REGISTRY[kind].settings(
        kind=kind, base_url="http://127.0.0.1:1", api_key=SecretStr("key"), **more
    )


def carried(sent: dict[str, Any]) -> set[RequestField]:
    """The optional fields that are in what was sent."""
    return {field for field, names in NAMES.items() if sent.keys() & set(names)}


@pytest.mark.parametrize("diffusion_fields", [False, True])
async def test_openai(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, diffusion_fields: bool
) -> None:
    """None of them, unless the settings say that the server takes them."""
    peer.says(answer(500))
    service = openai(http, peer.url, diffusion_fields=diffusion_fields)
    await refusal(service.submit(submission(asked), at_once))
    settings = settings_of("openai", diffusion_fields=diffusion_fields)
    assert carried(peer.received[0].json) == set(kind_of(settings).carries(settings))


async def test_flux(http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested) -> None:
    """The seed alone."""
    peer.says(answer(500))
    await refusal(flux(http, peer.url).submit(submission(asked), at_once))
    settings = settings_of("flux")
    assert carried(peer.received[0].json) == set(kind_of(settings).carries(settings))


def test_kubernetes(asked: GenerationRequested) -> None:
    """All of them, in the container's request."""
    made = job_object(submission(asked), JobRef("models", "job"), "bucket", 60)
    [container] = made["spec"]["template"]["spec"]["containers"]
    [request] = [each["value"] for each in container["env"] if each["name"] == "DURAGEN_REQUEST"]
    settings = settings_of("kubernetes")
    assert carried(json.loads(request)) == set(kind_of(settings).carries(settings))


@pytest.mark.parametrize("kind", REGISTRY)
async def test_a_kind_with_jobs_builds_a_service_with_jobs(clients: Clients, kind: str) -> None:
    """So that the wiring may give it a queue for its jobs."""
    service = REGISTRY[kind].build(
        settings_of(kind), Parts(clients.http, clients.public, clients.store, clients.closing)
    )
    methods = [name for name in vars(JobService) if not name.startswith("_")]
    assert all(hasattr(service, name) for name in methods) == REGISTRY[kind].has_jobs
