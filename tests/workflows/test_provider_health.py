"""The health of a provider: from calls that fail to routes, alerts, and back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from contracts.alerts import AlertName
from contracts.errors import ErrorCode
from contracts.generation import GenerationState, Outcome
from contracts.names import (
    GENERATION_QUEUE,
    HEALTH_QUERY,
    PROVIDER_HEALTH_WORKFLOW,
    REPORT_SIGNAL,
    provider_health_id,
)
from contracts.provider_health import (
    Circuit,
    HealthRules,
    ProviderHealthState,
    ProviderHealthView,
    ProviderReport,
)
from tests.activities.http_peer import Received, Reply, answer, listening, refusing_url
from tests.lab import Lab, working
from tests.workflows.alerting_peer import AlertLog
from workers.settings import Settings

SkippingLab = tuple[Lab, WorkflowEnvironment]
REFUSED = ProviderReport(
    failures={ErrorCode.AUTH_CONFIG: 1},
    details={ErrorCode.AUTH_CONFIG: "the image service answered 401"},
    failing_since_success=1,
)
WRONG_MODEL = ProviderReport(
    successes=2,
    works=True,
    failures={ErrorCode.MODEL_CONFIG: 1},
    details={ErrorCode.MODEL_CONFIG: "the image service answered 404"},
)
KEY_REFUSED = (AlertName.PROVIDER_DOWN, "openai", ErrorCode.AUTH_CONFIG)
AWAY = (AlertName.PROVIDER_DOWN, "openai", ErrorCode.PROVIDER_UNAVAILABLE)
UNPAID = (AlertName.PROVIDER_DOWN, "openai", ErrorCode.QUOTA_EXHAUSTED)
NO_SUCH_MODEL = (AlertName.PROVIDER_ERRORS, "openai", ErrorCode.MODEL_CONFIG)

RULES = HealthRules()
COOL_DOWN = timedelta(seconds=RULES.cool_down_seconds)


class Service(NamedTuple):
    """An image service whose answers a test can replace; `url` is its own."""

    url: str
    instead: dict[str, Reply]
    """By HTTP method: what is answered in place of the sandbox."""


@pytest.fixture
async def service(lab: Lab) -> AsyncIterator[Service]:
    """The sandbox image service behind a relay that a test can close."""
    instead: dict[str, Reply] = {}

    async def reply(asked: Received, reader: Any, writer: Any) -> None:
        if asked.method in instead:
            return await instead[asked.method](asked, reader, writer)
        passed = {
            name: asked.headers[name]
            for name in ("authorization", "content-type")
            if name in asked.headers
        }
        url = lab.stack.images_url + asked.path
        made = await lab.http.request(asked.method, url, headers=passed, content=asked.body)
        kind = {"content-type": made.headers["content-type"]}
        return await answer(made.status_code, made.content, kind)(asked, reader, writer)

    async with listening() as peer:
        peer.says(reply)
        yield Service(peer.url, instead)


def _with_openai_at(url: str, settings: Settings) -> Settings:
    openai = settings.providers["openai"].model_copy(update={"base_url": url})
    return settings.model_copy(update={"providers": {**settings.providers, "openai": openai}})


async def _report(lab: Lab, report: ProviderReport) -> WorkflowHandle[Any, Any]:
    """Start the health workflow with its first report, as a worker does."""
    return await lab.client.start_workflow(
        PROVIDER_HEALTH_WORKFLOW,
        ProviderHealthState(provider="openai"),
        id=provider_health_id("openai"),
        task_queue=GENERATION_QUEUE,
        start_signal=REPORT_SIGNAL,
        start_signal_args=[report],
    )


async def _health(lab: Lab) -> ProviderHealthView:
    handle = lab.client.get_workflow_handle(provider_health_id("openai"))
    return await handle.query(HEALTH_QUERY, result_type=ProviderHealthView)


async def _turns(lab: Lab, circuit: Circuit) -> ProviderHealthView:
    """Ask until the circuit is so."""
    async with asyncio.timeout(100):
        while (view := await _health(lab)).circuit is not circuit:
            await asyncio.sleep(0.05)
    return view


async def _one_more(lab: Lab) -> tuple[str, Outcome]:
    """A generation with two routes: who made it, and its outcome."""
    handle = await lab.start(lab.two_routes_request())
    outcome = await handle.result()
    assert outcome.state is GenerationState.COMPLETED
    route = (await lab.view(handle)).route
    assert route
    return route.provider, outcome


async def _made_by(lab: Lab, provider: str) -> None:
    """Generate until `provider` makes an image at the first try; workers look every 5 s."""
    async with asyncio.timeout(100):
        while True:
            maker, outcome = await _one_more(lab)
            if maker == provider and not outcome.tried:
                return
            await asyncio.sleep(0.2)


async def _tries(lab: Lab, provider: str) -> None:
    """Generate until one has tried `provider` first, and left it."""
    async with asyncio.timeout(100):
        while [each.route.provider for each in (await _one_more(lab))[1].tried] != [provider]:
            await asyncio.sleep(0.2)


async def test_a_wrong_key_moves_generations_until_it_is_fixed(
    skipping: SkippingLab, settings: Settings, alerts: AlertLog, service: Service
) -> None:
    """Open at the first 401, an alert, avoided; a probe finds the key taken: closed, resolved."""
    lab, environment = skipping
    service.instead.update(POST=answer(401), GET=answer(401))
    async with working(lab.client, alerts.settings(_with_openai_at(service.url, settings))):
        _, first = await _one_more(lab)
        assert [each.failure.code for each in first.tried] == [ErrorCode.AUTH_CONFIG]
        await alerts.shows(KEY_REFUSED)
        assert alerts.standing[KEY_REFUSED]["labels"]["severity"] == "critical"
        assert "api_key" in alerts.standing[KEY_REFUSED]["annotations"]["description"]
        await _made_by(lab, "flux")
        await environment.sleep(COOL_DOWN * 3)
        view = await _health(lab)
        assert view.circuit is Circuit.OPEN
        assert list(view.details) == [ErrorCode.AUTH_CONFIG]
        service.instead.clear()
        await environment.sleep(COOL_DOWN)
        assert (await _turns(lab, Circuit.CLOSED)).failures == {}
        await alerts.shows()
        await _made_by(lab, "openai")


async def test_an_unpaid_account_is_tried_again_by_single_generations(
    skipping: SkippingLab, settings: Settings, alerts: AlertLog, service: Service
) -> None:
    """Its look-up answers well: each half-open try fails one generation, until the bill is paid."""
    lab, environment = skipping
    service.instead["POST"] = answer(402)
    async with working(lab.client, alerts.settings(_with_openai_at(service.url, settings))):
        await _one_more(lab)
        await alerts.shows(UNPAID)
        await _made_by(lab, "flux")
        await environment.sleep(COOL_DOWN)
        await _turns(lab, Circuit.HALF_OPEN)
        await _tries(lab, "openai")
        await _turns(lab, Circuit.OPEN)
        await alerts.shows(UNPAID)
        service.instead.clear()
        await environment.sleep(COOL_DOWN)
        await _turns(lab, Circuit.HALF_OPEN)
        await _made_by(lab, "openai")
        await _turns(lab, Circuit.CLOSED)
        await alerts.shows()


async def test_a_service_that_is_away_is_an_alert_and_avoided(
    skipping: SkippingLab, settings: Settings, alerts: AlertLog
) -> None:
    """Three generations with their retries are nine failures in a row."""
    lab, _ = skipping
    async with working(lab.client, alerts.settings(_with_openai_at(refusing_url(), settings))):
        for _ in range(3):
            _, outcome = await _one_more(lab)
            assert [each.failure.code for each in outcome.tried] == [ErrorCode.PROVIDER_UNAVAILABLE]
        await alerts.shows(AWAY)
        await _made_by(lab, "flux")


async def test_a_standing_alert_is_raised_again_each_minute(
    skipping: SkippingLab, settings: Settings, alerts: AlertLog
) -> None:
    """So that it does not run out; and it is the same alert each time."""
    lab, environment = skipping
    async with working(lab.client, alerts.settings(_with_openai_at(refusing_url(), settings))):
        await _report(lab, REFUSED)
        await alerts.shows(KEY_REFUSED)
        await environment.sleep(timedelta(minutes=10))
        async with asyncio.timeout(10):
            while len(alerts.posts) < 10:
                await asyncio.sleep(0.05)
        assert len(alerts.posts) <= 12
        assert {len(post) for post in alerts.posts} == {1}


async def test_alerts_are_sent_when_alertmanager_is_back(
    skipping: SkippingLab, settings: Settings, alerts: AlertLog
) -> None:
    """An alert that could not be raised is not forgotten, nor does it hold the watching up."""
    lab, environment = skipping
    alerts.down()
    async with working(lab.client, alerts.settings(_with_openai_at(refusing_url(), settings))):
        await _report(lab, REFUSED)
        await environment.sleep(timedelta(minutes=5))
        assert (await _turns(lab, Circuit.OPEN)).firing == ()
        alerts.up()
        await environment.sleep(timedelta(minutes=2))
        await alerts.shows(KEY_REFUSED)


async def test_what_leaves_the_window_is_resolved(
    skipping: SkippingLab, settings: Settings, alerts: AlertLog
) -> None:
    """A wrong model's name is an alert for five minutes after its last failure."""
    lab, environment = skipping
    async with working(lab.client, alerts.settings(settings)):
        await _report(lab, WRONG_MODEL)
        await alerts.shows(NO_SUCH_MODEL)
        await environment.sleep(timedelta(seconds=RULES.window_seconds) + COOL_DOWN)
        await alerts.shows()


async def test_a_continued_one_knows_what_the_old_one_knew(
    lab: Lab, settings: Settings, alerts: AlertLog
) -> None:
    """1,500 reports, 100 at a time: histories stay short, and not one report is lost."""
    async with working(lab.client, alerts.settings(settings)):
        handle = await _report(lab, WRONG_MODEL)
        for number in range(1, 16):
            signals = (handle.signal(REPORT_SIGNAL, WRONG_MODEL) for _ in range(100))
            await asyncio.gather(*signals)
            calls = 100 * number + 1
            async with asyncio.timeout(100):
                while (view := await _health(lab)).successes < 2 * calls:
                    await asyncio.sleep(0.1)
        assert view.successes == 2 * calls
        assert view.failures == {ErrorCode.MODEL_CONFIG: calls}
        [firing] = view.firing
        assert (firing.name, firing.service, firing.error_type) == NO_SUCH_MODEL
        await alerts.shows(NO_SUCH_MODEL)
    first = lab.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    described = await first.describe()
    assert described.status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    assert described.history_length < RULES.long_history_events + 200
