"""Alertmanager's v2 API in the sandbox: what is needed to raise, resolve and see alerts.

Answers and their order are those of Alertmanager 0.25, which a test compares them with.
No routing, grouping, silences or inhibition: every alert that has not ended is `active`.
"""

import json
import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.sandbox.notifications.records import Alert, NotificationRecords

RESOLVE_TIMEOUT_SECONDS = 300.0
"""An alert whose sender names no end lasts so long; Alertmanager's default `resolve_timeout`."""

RECEIVER = "sandbox"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*', re.ASCII)
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def _seconds(text: Any) -> float | None:
    """Seconds since 1970 of a time as the wire has it; None for none, also in Go's spelling."""
    if not isinstance(text, str):
        raise ValueError("must be a string")  # noqa: TRY004  # pydantic turns ValueErrors alone
    if not text or text.startswith("0001-01-01"):
        return None
    # Go writes nanoseconds, Python reads microseconds.
    time_of = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return (time_of if time_of.tzinfo else time_of.replace(tzinfo=UTC)).timestamp()


_Time = Annotated[float | None, BeforeValidator(_seconds)]


class _Posted(BaseModel):
    model_config = ConfigDict(strict=True)

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: _Time = Field(None, alias="startsAt")
    ends_at: _Time = Field(None, alias="endsAt")
    generator_url: str = Field("", alias="generatorURL")


_POSTED = TypeAdapter(list[_Posted])


class AlertmanagerApi:
    """`/api/v2/alerts`, `/api/v2/status`, `/-/ready`, `/-/healthy`."""

    def __init__(self, records: NotificationRecords) -> None:
        self._records = records
        self._started = time.time()

    def routes(self) -> list[Route]:
        """What Starlette mounts."""
        return [
            Route("/api/v2/alerts", self._post, methods=["POST"]),
            Route("/api/v2/alerts", self._get),
            Route("/api/v2/status", self._status),
            Route("/-/ready", _well),
            Route("/-/healthy", _well),
        ]

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        text = body.decode(errors="replace")
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        alerts: list[Alert] = []
        if kind != "application/json":
            allowed = "only [application/json] are allowed"
            answer = _error(415, 415, f'unsupported media type "{kind}", {allowed}')
        elif not body:
            answer = _error(422, 602, "alerts in body is required")
        else:
            alerts, answer = _read(body)
        self._records.put_alerts(alerts, answer.status_code, text)
        return answer

    async def _get(self, request: Request) -> Response:
        try:
            matches = [_matcher(each) for each in request.query_params.getlist("filter")]
        except ValueError as error:
            return JSONResponse(str(error), 400)
        wanted = request.query_params.get("active", "true") != "false"
        return JSONResponse(
            [
                shown(alert)
                for alert in self._records.active_alerts()
                if wanted and all(match(alert.labels) for match in matches)
            ]
        )

    async def _status(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "cluster": {"peers": [], "status": "disabled"},
                "config": {"original": f"route:\n  receiver: {RECEIVER}\n"},
                "uptime": _written(self._started),
                "versionInfo": {"version": "0.25.0", "branch": "sandbox"},
            }
        )


def fingerprint(labels: dict[str, str]) -> str:
    """What makes two alerts one: FNV-1a of the sorted labels, 16 hexadecimal digits."""
    digest = _FNV_OFFSET
    for name in sorted(labels):
        for byte in (*name.encode(), 0xFF, *labels[name].encode(), 0xFF):
            digest = (digest ^ byte) * _FNV_PRIME % 2**64
    return f"{digest:016x}"


def shown(alert: Alert) -> dict[str, Any]:
    """An alert as GET answers it."""
    url = {"generatorURL": alert.generator_url} if alert.generator_url else {}
    return {
        "annotations": alert.annotations,
        "endsAt": _written(alert.ends_at),
        "fingerprint": alert.fingerprint,
        "receivers": [{"name": RECEIVER}],
        "startsAt": _written(alert.starts_at),
        "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"},
        "updatedAt": _written(alert.updated_at),
        **url,
        "labels": alert.labels,
    }


def _read(body: bytes) -> tuple[list[Alert], Response]:
    """The good ones among what was posted, and the answer: one bad alert does not hide others."""
    try:
        posted = _POSTED.validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        missing = [each for each in faults if each["type"] == "missing"]
        if len(missing) == len(faults):
            where = ".".join(map(str, missing[0]["loc"]))
            return [], _error(422, 602, f"{where} in body is required")
        first = next(each for each in faults if each["type"] != "missing")
        return [], _error(400, 400, f'parsing alerts body from "" failed, because {first["msg"]}')
    for number, each in enumerate(posted):
        url = each.generator_url
        if url and not (urlsplit(url).scheme or url.startswith("/")):
            text = f'{number}.generatorURL in body must be of type uri: "{url}"'
            return [], _error(422, 601, text)
    now = time.time()
    alerts = [_settled(each, now) for each in posted]
    problems = [_problem(alert) for alert in alerts]
    good = [alert for alert, problem in zip(alerts, problems, strict=True) if problem is None]
    text = "; ".join(filter(None, problems))
    return good, JSONResponse(text, 400) if text else Response()


def _settled(posted: _Posted, now: float) -> Alert:
    labels = {name: value for name, value in posted.labels.items() if value}
    starts_at = posted.starts_at or posted.ends_at or now
    ends_at = posted.ends_at or now + RESOLVE_TIMEOUT_SECONDS
    return Alert(
        *(fingerprint(labels), labels, posted.annotations, starts_at, ends_at, now),
        generator_url=posted.generator_url,
        timed_out=posted.ends_at is None,
    )


def _problem(alert: Alert) -> str | None:
    if alert.ends_at < alert.starts_at:
        return "start time must be before end time"
    for what, pairs in (("label set", alert.labels), ("annotations", alert.annotations)):
        if what == "label set" and not pairs:
            return "at least one label pair required"
        for name in pairs:
            if not _NAME.fullmatch(name):
                return f"invalid {what}: invalid name {json.dumps(name)}"
    return None


def _matcher(text: str) -> Any:
    found = _MATCHER.fullmatch(text)
    if not found:
        raise ValueError(f"bad matcher format: {text}")
    name, operator, value = found.groups()

    def match(labels: dict[str, str]) -> bool:
        there = labels.get(name, "")
        same = bool(re.fullmatch(value, there)) if "~" in operator else there == value
        return same is not operator.startswith("!")

    return match


def _written(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _error(status: int, code: int, message: str) -> Response:
    return JSONResponse({"code": code, "message": message}, status)


async def _well(_request: Request) -> Response:
    return PlainTextResponse("OK")
