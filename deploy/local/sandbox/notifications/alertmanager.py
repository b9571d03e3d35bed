"""Alertmanager's v2 API in the sandbox: what Duragen needs to raise, resolve and see alerts.

No routing, grouping, silences, inhibition or filters: every alert that has not ended is `active`.
The real Alertmanager is in `make test-system`.
"""

import hashlib
import json
import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.sandbox.notifications.records import Alert, NotificationRecords

RESOLVE_TIMEOUT_SECONDS = 300.0
"""An alert whose sender names no end lasts so long; Alertmanager's default `resolve_timeout`."""


def _seconds(text: Any) -> float | None:
    """Seconds since 1970 of a time as the wire has it; Go writes nanoseconds."""
    if not isinstance(text, str):
        raise ValueError("must be a string")  # noqa: TRY004  # pydantic turns ValueErrors alone
    at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


_Time = Annotated[float | None, BeforeValidator(_seconds)]
_Name = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]


class _Posted(BaseModel):
    model_config = ConfigDict(strict=True)

    labels: Annotated[dict[_Name, str], Field(min_length=1)]
    annotations: dict[_Name, str] = {}
    starts_at: _Time = Field(None, alias="startsAt")
    ends_at: _Time = Field(None, alias="endsAt")
    generator_url: str = Field("", alias="generatorURL")


_POSTED = TypeAdapter(list[_Posted])


class AlertmanagerApi:
    """`/api/v2/alerts` and `/-/ready`."""

    def __init__(self, records: NotificationRecords) -> None:
        self._records = records

    def routes(self) -> list[Route]:
        """What Starlette mounts."""
        return [
            Route("/api/v2/alerts", self._post, methods=["POST"]),
            Route("/api/v2/alerts", self._get),
            Route("/-/ready", _ready),
        ]

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        answer: Response = Response()
        alerts: list[Alert] = []
        try:
            alerts = [_alert(each, time.time()) for each in _POSTED.validate_json(body)]
        except ValidationError as error:
            answer = JSONResponse({"code": 400, "message": str(error)}, 400)
        self._records.put_alerts(alerts, answer.status_code, body.decode(errors="replace"))
        return answer

    async def _get(self, _request: Request) -> Response:
        return JSONResponse([shown(alert) for alert in self._records.active_alerts()])


def fingerprint(labels: dict[str, str]) -> str:
    """What makes two alerts one: a digest of the sorted labels, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]


def shown(alert: Alert) -> dict[str, Any]:
    """An alert as GET answers it."""
    url = {"generatorURL": alert.generator_url} if alert.generator_url else {}
    return {
        "annotations": alert.annotations,
        "endsAt": _written(alert.ends_at),
        "fingerprint": alert.fingerprint,
        "receivers": [{"name": "sandbox"}],
        "startsAt": _written(alert.starts_at),
        "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"},
        "updatedAt": _written(alert.updated_at),
        **url,
        "labels": alert.labels,
    }


def _alert(posted: _Posted, now: float) -> Alert:
    labels = {name: value for name, value in posted.labels.items() if value}
    return Alert(
        fingerprint(labels),
        labels,
        posted.annotations,
        starts_at=posted.starts_at or posted.ends_at or now,
        ends_at=posted.ends_at or now + RESOLVE_TIMEOUT_SECONDS,
        updated_at=now,
        generator_url=posted.generator_url,
        timed_out=posted.ends_at is None,
    )


def _written(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


async def _ready(_request: Request) -> Response:
    return PlainTextResponse("OK")
