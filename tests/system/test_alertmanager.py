"""Our alerts in a real Alertmanager: raised, raised again, risen, resolved, run out."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.alerts import AlertActivities
from contracts.alerts import AdminAlert, AlertName, AlertTask, Severity
from workers.doctor.services import alertmanager as alertmanager_finding
from workers.settings import AlertSettings

PATIENCE_SECONDS = 100
WEB_URL = "https://temporal.example.com/namespaces/images"
WARNING = AdminAlert(
    name=AlertName.PROVIDER_ERRORS,
    severity=Severity.WARNING,
    service="flux",
    error_type="PROVIDER_TIMEOUT",
    summary="3 of 40 calls failed",
    description="Look at the service's status page.",
)
CRITICAL = WARNING.model_copy(update={"severity": Severity.CRITICAL})


class Office:
    """Sends alerts to Alertmanager, and looks at what it knows."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.url = url
        self._http = http
        self._activities = AlertActivities(http, url, None, WEB_URL)

    async def sends(
        self, *firing: AdminAlert, resolved: tuple[AdminAlert, ...] = (), lasts: float = 200
    ) -> None:
        """The activity, once."""
        task = AlertTask(firing=firing, resolved=resolved, lasts_seconds=lasts)
        sent = await ActivityEnvironment().run(self._activities.send_alerts, task)
        assert sent.answer.startswith("200: ")

    async def standing(self) -> list[dict[str, Any]]:
        """The alerts that fire now."""
        found: list[dict[str, Any]] = (await self._http.get(f"{self.url}/api/v2/alerts")).json()
        return found


@pytest.fixture
def office(http: httpx.AsyncClient, alertmanager: str) -> Office:
    """A fresh Alertmanager and our way to it."""
    return Office(http, alertmanager)


def when(text: str) -> datetime:
    """A time as Alertmanager writes it."""
    return datetime.fromisoformat(text)


async def test_stands(office: Office) -> None:
    """It stands with our labels, our words, a link to the Web UI, and an end."""
    await office.sends(WARNING)
    [alert] = await office.standing()
    assert alert["labels"] == {
        "alertname": "DuragenProviderErrors",
        "severity": "warning",
        "service": "flux",
        "errorType": "PROVIDER_TIMEOUT",
        "source": "duragen",
    }
    assert alert["annotations"] == {
        "summary": "3 of 40 calls failed",
        "description": "Look at the service's status page.",
    }
    assert alert["generatorURL"] == WEB_URL
    assert alert["status"]["state"] in {"active", "unprocessed"}
    assert when(alert["endsAt"]) - when(alert["startsAt"]) == timedelta(seconds=200)
    assert abs(when(alert["startsAt"]) - datetime.now(UTC)) < timedelta(seconds=PATIENCE_SECONDS)


async def test_raised_again(office: Office) -> None:
    """It stays one and keeps its beginning; its words and its end are the latest."""
    await office.sends(WARNING)
    [before] = await office.standing()
    await office.sends(WARNING.model_copy(update={"summary": "9 of 40 calls failed"}))
    [after] = await office.standing()
    assert after["startsAt"] == before["startsAt"]
    assert when(after["endsAt"]) > when(before["endsAt"])
    assert after["annotations"]["summary"] == "9 of 40 calls failed"


async def test_resolved(office: Office) -> None:
    """It goes away at once, and others stay."""
    other = WARNING.model_copy(update={"service": "openai"})
    await office.sends(WARNING, other)
    await office.sends(other, resolved=(WARNING,))
    [alert] = await office.standing()
    assert alert["labels"]["service"] == "openai"


async def test_raised_after_it_was_resolved(office: Office) -> None:
    """It stands again, from then on."""
    await office.sends(WARNING)
    [before] = await office.standing()
    await office.sends(resolved=(WARNING,))
    assert await office.standing() == []
    await office.sends(WARNING)
    [after] = await office.standing()
    assert when(after["startsAt"]) > when(before["startsAt"])


async def test_resolved_without_having_stood(office: Office) -> None:
    """Alertmanager forgets alerts when it is restarted: resolving an unknown one does no harm."""
    await office.sends(resolved=(WARNING,))
    assert await office.standing() == []


async def test_severity_rises(office: Office) -> None:
    """Sent together with the end of the old one, a risen alert is one, not two."""
    await office.sends(WARNING)
    await office.sends(CRITICAL, resolved=(WARNING,))
    [alert] = await office.standing()
    assert alert["labels"]["severity"] == "critical"


async def test_ends_by_itself(office: Office) -> None:
    """When nobody raises it again it ends: whoever raised it may be gone."""
    await office.sends(WARNING, lasts=1)
    assert len(await office.standing()) == 1
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await office.standing():
            await asyncio.sleep(0.05)


HOSTILE = {
    "quotes": 'a"b\'c`d\\e{f="g"}',
    "lines": "first\nsecond\r\n\tthird",
    "control characters": "\x00\x01\x1b[31mred\x7f",
    "markup": "<script>alert(1)</script> {{ .Labels }} ${HOME} %s %n",
    "other scripts": "图像 صورة \u202e 🖼️",
    "huge": "x" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_texts(office: Office, name: str) -> None:
    """Whatever a provider or a setting is called, the alert is there as it was sent."""
    text = HOSTILE[name]
    hostile = AdminAlert(
        name=AlertName.PROVIDER_DOWN,
        severity=Severity.CRITICAL,
        service=text,
        error_type=text,
        summary=text[:1_000],
        description=text[:4_000],
    )
    await office.sends(WARNING, hostile)
    found = {each["labels"]["service"]: each for each in await office.standing()}
    assert set(found) == {"flux", text}
    assert found[text]["labels"]["errorType"] == text
    assert found[text]["annotations"] == {"summary": text[:1_000], "description": text[:4_000]}


async def test_many(office: Office) -> None:
    """Every alert of every provider in one call."""
    many = [WARNING.model_copy(update={"service": f"provider-{n}"}) for n in range(500)]
    await office.sends(*many)
    assert len(await office.standing()) == len(many)


async def test_refused(http: httpx.AsyncClient, alertmanager: str) -> None:
    """What Alertmanager refuses is not tried again, and it says why."""
    activities = AlertActivities(http, alertmanager, None, "no URL at all")
    task = AlertTask(firing=(WARNING,), lasts_seconds=200)
    with pytest.raises(ApplicationError, match=r"answered 422: .*generatorURL") as caught:
        await ActivityEnvironment().run(activities.send_alerts, task)
    assert caught.value.non_retryable is True


async def test_doctor(http: httpx.AsyncClient, alertmanager: str) -> None:
    """`duragen doctor` finds it ready, wherever its root is."""
    finding = await alertmanager_finding(http, AlertSettings(base_url=f"{alertmanager}/"))
    assert (finding.found, finding.fix) == ("is ready", "")
