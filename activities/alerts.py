"""Raising and resolving alerts through Alertmanager's v2 API: `POST {base_url}/api/v2/alerts`.

spec: error-handling.sequence, 10.1 (its v1 path is gone from Alertmanager). Labels are what an
alert is known by there: name, severity, service, errorType, and that it is ours. An alert whose
labels change is another one: whoever raises it resolves the old one, in the same task.
"""

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError

from contracts.alerts import AdminAlert, AlertsSent, AlertTask
from contracts.generation import MAX_DETAIL_CHARACTERS
from contracts.names import SEND_ALERTS_ACTIVITY
from peers.http import Answer, call
from peers.redaction import redact

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
"""Alertmanager answers from memory; the rest is for a busy machine."""

MAX_ANSWER_BYTES = 64 * 1024

SOURCE = "duragen"
"""The label by which a route or a silence takes all of our alerts and no others."""

RESOLVED_AGO = timedelta(minutes=1)
"""A resolved alert ended so long ago. Alertmanager compares with its own clock: an end that is a
moment ahead of it is no end, and the alert would stand until it runs out."""

_REFUSALS = frozenset({400, 413, 422})
"""The same alerts would be refused again; 422 is what Alertmanager's schema says."""

_NO_ANSWER = (
    TimeoutError,
    UnicodeEncodeError,
    httpx.HTTPError,
    httpx.InvalidURL,
)


class AlertActivities:
    """One Alertmanager. Without a `base_url` each alert is a line of the log.

    `web_url` is where an alert's "source" link leads: Temporal's Web UI.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str | None,
        token: str | None,
        web_url: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/") if base_url else None
        self._token = token
        self._web_url = web_url
        self._timeout_seconds = timeout_seconds

    @activity.defn(name=SEND_ALERTS_ACTIVITY)
    async def send_alerts(self, task: AlertTask) -> AlertsSent:
        """Raise and resolve; doing it twice is as doing it once.

        Raises ApplicationError: Temporal tries again, unless Alertmanager refuses these alerts.
        """
        firing = {_labels_of(alert): alert for alert in task.firing}
        # An alert that fires and is resolved at the same time fires.
        ended = {_labels_of(a): a for a in task.resolved if _labels_of(a) not in firing}
        if not firing and not ended:
            return AlertsSent(answer="nothing to send")
        if self._base_url is None:
            _log(firing.values(), logging.WARNING, "firing")
            _log(ended.values(), logging.INFO, "resolved")
            return AlertsSent(answer="logged")
        now = datetime.now(UTC)
        until, before = now + timedelta(seconds=task.lasts_seconds), now - RESOLVED_AGO
        posted = [self._posted(alert, now, until) for alert in firing.values()]
        posted += [self._posted(alert, before, before) for alert in ended.values()]
        answer = await self._post(f"{self._base_url}/api/v2/alerts", posted)
        if not 200 <= answer.status < 300:
            raise self._refused(answer)
        return AlertsSent(answer=f"{answer.status}: {len(firing)} firing, {len(ended)} resolved")

    def _posted(self, alert: AdminAlert, start: datetime, end: datetime) -> dict[str, Any]:
        # Without `startsAt` Alertmanager takes `endsAt` for it. With ours it keeps the earliest of
        # those that overlap: the beginning of an alert that is raised again stays.
        posted = {
            "labels": dict(_labels_of(alert)),
            "annotations": {
                "summary": alert.summary[:MAX_DETAIL_CHARACTERS],
                "description": alert.description,
            },
            "startsAt": start.isoformat(timespec="milliseconds"),
            "endsAt": end.isoformat(timespec="milliseconds"),
        }
        return posted | ({"generatorURL": self._web_url} if self._web_url else {})

    async def _post(self, url: str, alerts: list[dict[str, Any]]) -> Answer:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return await call(
                self._client,
                "POST",
                url,
                timeout_seconds=self._timeout_seconds,
                max_bytes=MAX_ANSWER_BYTES,
                headers=headers,
                content=json.dumps(alerts).encode(),
            )
        except _NO_ANSWER as error:
            # Its type alone: the text of some quotes the header, and the token in it.
            raise ApplicationError(f"Alertmanager: {type(error).__name__}") from None

    def _refused(self, answer: Answer) -> ApplicationError:
        said = answer.body.decode("utf-8", "replace")
        if self._token:
            said = redact(self._token, said)
        text = f"Alertmanager answered {answer.status}: {' '.join(said.split())}"
        return ApplicationError(
            text[:MAX_DETAIL_CHARACTERS], non_retryable=answer.status in _REFUSALS
        )


def _labels_of(alert: AdminAlert) -> tuple[tuple[str, str], ...]:
    labels = {
        "alertname": alert.name,
        "severity": alert.severity,
        "service": alert.service,
        "errorType": alert.error_type,
        "source": SOURCE,
    }
    return tuple((name, str(value)) for name, value in labels.items() if value)


def _log(alerts: Iterable[AdminAlert], level: int, state: str) -> None:
    for alert in alerts:
        what = f"alert {state}: {alert.name} {alert.summary}"
        logger.log(level, "%s", what, extra={"alert": alert.model_dump(mode="json")})
