"""Alerts to Alertmanager: the wire, its refusals, and what is logged when there is none."""

import logging
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from activities.alerts import MAX_ANSWER_BYTES, AlertActivities
from contracts.alerts import AdminAlert, AlertName, AlertsSent, AlertTask, Severity
from contracts.generation import MAX_DETAIL_CHARACTERS
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import (
    Peer,
    Reply,
    answer,
    drip,
    hang,
    html,
    raw,
    refusing_url,
    reset,
)

TOKEN = "t-0123456789abcdef"
PARKED = AdminAlert(
    name=AlertName.DELIVERIES_PARKED,
    severity=Severity.CRITICAL,
    service="odoo",
    error_type="ODOO_REFUSED",
    summary="3 outcomes have not reached Odoo",
    description="duragen parked says why",
)
OTHER = PARKED.model_copy(update={"error_type": "", "service": "flux"})


def alerting(
    http: httpx.AsyncClient, url: str | None, web_url: str | None = None
) -> AlertActivities:
    """The activity under test."""
    return AlertActivities(http, url and f"{url}/", TOKEN, web_url)


def task(*firing: AdminAlert, resolved: tuple[AdminAlert, ...] = ()) -> AlertTask:
    """What a workflow asks."""
    return AlertTask(firing=firing, resolved=resolved, lasts_seconds=200)


async def test_firing(http: httpx.AsyncClient, peer: Peer) -> None:
    """One POST of v2: labels, annotations, from now on for as long as the task says."""
    peer.says(answer(200))
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    sent = await Attempt().run(alerting(http, peer.url).send_alerts, task(PARKED))
    assert sent == AlertsSent(answer="200: 1 firing, 0 resolved")
    (received,) = peer.received
    assert (received.method, received.path) == ("POST", "/api/v2/alerts")
    assert received.headers["authorization"] == f"Bearer {TOKEN}"
    assert received.headers["content-type"] == "application/json"
    (posted,) = received.json
    start, end = (datetime.fromisoformat(posted.pop(name)) for name in ("startsAt", "endsAt"))
    assert before <= start <= datetime.now(UTC)
    assert end - start == timedelta(seconds=200)
    assert posted == {
        "labels": {
            "alertname": "DuragenDeliveriesParked",
            "severity": "critical",
            "service": "odoo",
            "errorType": "ODOO_REFUSED",
            "source": "duragen",
        },
        "annotations": {"summary": PARKED.summary, "description": PARKED.description},
    }


async def test_resolved(http: httpx.AsyncClient, peer: Peer) -> None:
    """It has ended already: an end ahead of Alertmanager's clock would be none."""
    peer.says(answer(200))
    sent = await Attempt().run(
        alerting(http, peer.url).send_alerts, task(PARKED, resolved=(OTHER,))
    )
    assert sent == AlertsSent(answer="200: 1 firing, 1 resolved")
    _, ended = peer.received[0].json
    assert ended["labels"]["service"] == "flux"
    assert ended["startsAt"] == ended["endsAt"]
    ago = datetime.now(UTC) - datetime.fromisoformat(ended["endsAt"])
    assert timedelta(seconds=59) < ago < timedelta(seconds=75)


async def test_no_empty_label(http: httpx.AsyncClient, peer: Peer) -> None:
    """An alert of no particular error has no errorType."""
    peer.says(answer(200))
    await Attempt().run(alerting(http, peer.url).send_alerts, task(OTHER))
    assert "errorType" not in peer.received[0].json[0]["labels"]


async def test_source_link(http: httpx.AsyncClient, peer: Peer) -> None:
    """With the Web UI's address in the settings, an alert leads there."""
    peer.says(answer(200))
    web_url = "https://temporal.example.com"
    await Attempt().run(alerting(http, peer.url, web_url).send_alerts, task(PARKED))
    assert peer.received[0].json[0]["generatorURL"] == web_url


async def test_firing_wins(http: httpx.AsyncClient, peer: Peer) -> None:
    """What fires and is resolved in one task fires; another severity is another alert."""
    peer.says(answer(200))
    louder, quieter = PARKED, PARKED.model_copy(update={"severity": Severity.WARNING})
    same = PARKED.model_copy(update={"summary": "4 outcomes have not reached Odoo"})
    await Attempt().run(
        alerting(http, peer.url).send_alerts, task(louder, resolved=(quieter, same))
    )
    first, second = peer.received[0].json
    assert (first["labels"]["severity"], second["labels"]["severity"]) == ("critical", "warning")
    assert first["endsAt"] > second["endsAt"]


async def test_nothing_to_send(http: httpx.AsyncClient, peer: Peer) -> None:
    """No alert, no call."""
    peer.says(answer(200))
    sent = await Attempt().run(alerting(http, peer.url).send_alerts, task())
    assert sent == AlertsSent(answer="nothing to send")
    assert peer.received == []


async def test_into_the_log(http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """Without an Alertmanager each alert is a line: a warning while it fires, info at its end."""
    with caplog.at_level(logging.INFO, "activities.alerts"):
        sent = await Attempt().run(
            alerting(http, None).send_alerts, task(PARKED, resolved=(OTHER,))
        )
    assert sent == AlertsSent(answer="logged")
    firing, resolved = caplog.records
    assert (firing.levelno, resolved.levelno) == (logging.WARNING, logging.INFO)
    assert firing.getMessage() == f"alert firing: {PARKED.name} {PARKED.summary}"
    assert vars(firing)["alert"] == PARKED.model_dump(mode="json")
    assert resolved.getMessage() == f"alert resolved: {OTHER.name} {OTHER.summary}"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_refused_for_good(http: httpx.AsyncClient, peer: Peer, status: int) -> None:
    """A refusal is not repeated; what Alertmanager said is kept, cut to size, without the token."""
    said = f"bad label set for {TOKEN}\n" + "x" * 5_000
    peer.says(answer(status, said))
    error = await Attempt().failure(alerting(http, peer.url).send_alerts, task(PARKED))
    assert error.non_retryable is True
    beginning = f"Alertmanager answered {status}: bad label set for [secret] x"
    assert error.message.startswith(beginning)
    assert len(error.message) == MAX_DETAIL_CHARACTERS


TROUBLE = {
    "unauthorized": answer(401),
    "a page": html(503),
    "moved": answer(302, headers={"location": "http://127.0.0.1:1/"}),
    "not found": answer(404),
    "nothing": raw(),
    "reset": reset,
    "no HTTP": raw(b"220 mail.example.com ESMTP\r\n"),
    "endless": answer(200, b"x" * (MAX_ANSWER_BYTES + 1)),
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_trouble(http: httpx.AsyncClient, peer: Peer, name: str) -> None:
    """Whatever else goes wrong is tried again by Temporal."""
    peer.says(TROUBLE[name])
    error = await Attempt().failure(alerting(http, peer.url).send_alerts, task(PARKED))
    assert error.non_retryable is False
    assert error.message.startswith("Alertmanager")
    assert TOKEN not in error.message


@pytest.mark.parametrize("reply", [hang, drip])
async def test_cut_off(http: httpx.AsyncClient, peer: Peer, reply: Reply) -> None:
    """A call to an Alertmanager that hangs or drips ends in time, and is tried again."""
    peer.says(reply)
    activities = AlertActivities(http, peer.url, TOKEN, timeout_seconds=0.3)
    error = await Attempt().failure(activities.send_alerts, task(PARKED))
    assert error.non_retryable is False
    assert error.message == "Alertmanager: TimeoutError"


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}ü"])
async def test_token_never_enters_history(http: httpx.AsyncClient, peer: Peer, token: str) -> None:
    """A token that no header may hold is not quoted."""
    peer.says(answer(200))
    activity = AlertActivities(http, peer.url, token)
    error = await Attempt().failure(activity.send_alerts, task(PARKED))
    assert TOKEN not in error.message
    assert error.cause is None
    assert error.__cause__ is None


async def test_nobody_there(http: httpx.AsyncClient) -> None:
    """An Alertmanager that is away gets the alerts later."""
    error = await Attempt().failure(alerting(http, refusing_url()).send_alerts, task(PARKED))
    assert error.non_retryable is False
    assert error.message == "Alertmanager: ConnectError"
