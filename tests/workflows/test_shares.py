"""Each route has a time of its own: one that is stuck leaves the next one its chance."""

import asyncio
from uuid import uuid4

from temporalio.client import WorkflowFailureError

from contracts.errors import ErrorCode
from contracts.generation import GenerationState, Outcome
from contracts.names import HEALTH_QUERY, provider_health_id
from contracts.provider_health import ProviderHealthView
from tests.lab import TWO_ROUTES_MODEL_ID, Lab, working
from workers.settings import GenerationSettings, ModelSettings, RouteSettings, Settings

MANY = 12


def flux_first(settings: Settings, deadline_seconds: float) -> Settings:
    """The model with two routes has FLUX before OpenAI."""
    model = settings.models[TWO_ROUTES_MODEL_ID]
    turned = model.model_copy(update={"routes": tuple(reversed(model.routes))})
    return settings.model_copy(
        update={
            "models": {**settings.models, TWO_ROUTES_MODEL_ID: turned},
            "generation": GenerationSettings(deadline_seconds=deadline_seconds),
        }
    )


async def health_of(lab: Lab, provider: str, failures: int = MANY) -> ProviderHealthView:
    """What its health workflow says, once it knows of so many failures."""
    handle = lab.client.get_workflow_handle(provider_health_id(provider))
    async with asyncio.timeout(100):
        while True:
            try:
                view: ProviderHealthView = await handle.query(
                    HEALTH_QUERY, result_type=ProviderHealthView
                )
            except Exception:  # noqa: BLE001  # not reported yet
                pass
            else:
                if sum(view.failures.values()) >= failures:
                    return view
            await asyncio.sleep(0.2)


def left(outcome: Outcome) -> list[tuple[str, ErrorCode, int]]:
    """The routes that were left: provider, code, calls that may have been paid for."""
    return [
        (each.route.provider, each.failure.code, each.failure.perhaps_paid)
        for each in outcome.tried
    ]


async def test_a_job_that_is_never_ready(lab: Lab, settings: Settings) -> None:
    """FLUX never finishes: its share ends, and the healthy second route makes the image."""
    hanging = {"latency_seconds": 3_600, "queue": []}
    async with working(lab.client, flux_first(settings, 10)):
        url = f"{lab.stack.images_url}/_sandbox/faults"
        (await lab.http.put(url, json=hanging | {"latency_seconds": 600})).raise_for_status()
        requests = [lab.two_routes_request() for _ in range(MANY)]
        handles = [await lab.start(request) for request in requests]
        for request in requests:  # all jobs are accepted: from here on the service is quick
            while not (await lab.ledgers(request)).paid:
                await asyncio.sleep(0.05)
        await lab.break_images()
        outcomes = await asyncio.gather(*(handle.result() for handle in handles))
        view = await health_of(lab, "flux")
    assert {each.state for each in outcomes} == {GenerationState.COMPLETED}
    assert [left(each) for each in outcomes] == [[("flux", "PROVIDER_TIMEOUT", 1)]] * MANY
    for request in requests:
        assert (await lab.ledgers(request)).paid == 2
    assert view.failures == {ErrorCode.PROVIDER_TIMEOUT: MANY}
    assert view.perhaps_paid == MANY


async def test_a_queue_that_nobody_serves(lab: Lab, settings: Settings) -> None:
    """No worker takes FLUX's calls: nothing is paid there, and health learns of it."""
    provider = f"flux-{uuid4().hex[:8]}"  # a queue that no other test has served
    model = settings.models[TWO_ROUTES_MODEL_ID]
    unserved = RouteSettings(provider=provider, model="flux-2-pro")
    routes = (unserved, next(each for each in model.routes if each.provider == "openai"))
    changed = settings.model_copy(
        update={
            "providers": {**settings.providers, provider: settings.providers["flux"]},
            "models": {TWO_ROUTES_MODEL_ID: ModelSettings(routes=routes)},
            "generation": GenerationSettings(deadline_seconds=12),
        }
    )
    async with working(lab.client, changed.with_queues(("generation", "provider.openai"))):
        requests = [lab.two_routes_request() for _ in range(MANY)]
        outcomes = await asyncio.gather(*(lab.outcome(request) for request in requests))
        view = await health_of(lab, provider)
    assert [left(each) for each in outcomes] == [[(provider, "NOT_SERVED", 0)]] * MANY
    assert {(await lab.ledgers(each)).paid for each in requests} == {1}
    assert view.failures == {ErrorCode.NOT_SERVED: MANY}


async def test_a_burst_behind_a_rate_limit(lab: Lab, settings: Settings) -> None:
    """What our own limit leaves no room for takes the next route; the provider is not to blame."""
    limited = {"submissions_per_second": 0.2}
    openai = settings.providers["openai"].model_copy(update=limited)
    changed = settings.model_copy(
        update={
            "providers": {**settings.providers, "openai": openai},
            "generation": GenerationSettings(deadline_seconds=24),
        }
    )
    async with working(lab.client, changed):
        requests = [lab.two_routes_request() for _ in range(MANY)]
        alone = [lab.request() for _ in range(MANY)]
        handles = [await lab.start(request) for request in (*requests, *alone)]
        ends = await asyncio.gather(*(each.result() for each in handles), return_exceptions=True)
        outcomes = [each for each in ends[:MANY] if isinstance(each, Outcome)]
        failed = [
            request
            for request, end in zip(alone, ends[MANY:], strict=True)
            if isinstance(end, WorkflowFailureError)
        ]
        waited = [each for each in outcomes if left(each)]
        view = await health_of(lab, "openai", len(waited) + len(failed))
    assert [each.state for each in outcomes] == [GenerationState.COMPLETED] * MANY
    assert {(await lab.ledgers(each)).paid for each in requests} == {1}
    assert waited
    assert [left(each) for each in waited] == [[("openai", "QUEUE_TIMEOUT", 0)]] * len(waited)
    assert (set(view.failures), view.streak) == ({ErrorCode.QUEUE_TIMEOUT}, 0)
    assert failed
    for request in failed:  # they have no other route
        ledgers = await lab.ledgers(request)
        [delivery] = ledgers.deliveries
        assert (ledgers.paid, delivery["event"]["errorCode"]) == (0, "QUEUE_TIMEOUT")
        assert "busy" in delivery["event"]["userMessage"]
