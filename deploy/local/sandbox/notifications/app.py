"""The notification sandbox: a notification service for users, and an Alertmanager.

    python -m deploy.local.sandbox.notifications.app --port 8093 --state .duragen/notifications

`POST /notify/generation-error` and `/notify/generation-success` count a notification as new once
per `Idempotency-Key`, and write a repeat down as `repeated`. Alertmanager's v2 API is in
`alertmanager.py`. `GET /_sandbox/notifications?request_id=` and `/_sandbox/alerts` show everything
that came, `PUT /_sandbox/faults` breaks notifications; the page at `/` is for people. The token
comes by option or from `DURAGEN_SANDBOX_NOTIFY_TOKEN`; without one, everybody may notify.
"""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from contracts.names import CORRELATION_HEADER
from deploy.local.sandbox.notifications.alertmanager import AlertmanagerApi
from deploy.local.sandbox.notifications.page import CONTENT_SECURITY_POLICY, page
from deploy.local.sandbox.notifications.records import Notification, NotificationRecords
from deploy.local.sandbox.serving import serve

IDEMPOTENCY_HEADER = "Idempotency-Key"
SHOWN = 50
"""Notifications on the page."""


class Faults(BaseModel):
    """What is wrong with every notification: a `status` before it is taken, or a late answer.

    `late_seconds` pass between the record of it and a right answer.
    """

    model_config = ConfigDict(extra="forbid")

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    late_seconds: Annotated[float, Field(ge=0, le=600)] = 0


class _Success(BaseModel):
    """The fields of both messages; any other field is kept and not checked."""

    model_config = ConfigDict(alias_generator=to_camel)

    generation_request_id: str = Field(min_length=1)
    user_id: str = Field(min_length=1)


class _Error(_Success):
    """spec: error-handling.sequence, 8.4 and 9.4."""

    user_msg: str = Field(min_length=1)


_MESSAGES: dict[str, type[_Success]] = {"error": _Error, "success": _Success}


class NotificationApi:
    """`/notify/generation-{kind}`, and what is wrong with it; an empty token lets everybody in."""

    def __init__(self, records: NotificationRecords, token: str) -> None:
        self._records = records
        self._token = token
        self._faults = Faults()

    def routes(self) -> list[Route]:
        """What Starlette mounts."""
        return [
            Route("/notify/generation-{kind}", self._notify, methods=["POST"]),
            Route("/_sandbox/faults", self._put_faults, methods=["PUT"]),
        ]

    async def _put_faults(self, request: Request) -> Response:
        try:
            self._faults = Faults.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), 422, media_type="application/json")
        return JSONResponse(self._faults.model_dump())

    async def _notify(self, request: Request) -> Response:
        records, kind = self._records, request.path_params["kind"]
        if kind not in _MESSAGES:
            return JSONResponse({"error": "no such notification"}, 404)
        body = await request.body()
        text = body.decode(errors="replace")
        notification = _notification(request, kind)
        if self._faults.status:
            records.refuse(notification, "fault", text)
            return JSONResponse({"error": "sandbox fault"}, self._faults.status)
        if self._token and request.headers.get("authorization") != f"Bearer {self._token}":
            records.refuse(notification, "refused: wrong bearer token", text)
            return JSONResponse({"error": "wrong bearer token"}, 401)
        try:
            said = _MESSAGES[kind].model_validate_json(body)
        except ValidationError as error:
            records.refuse(notification, "refused: invalid", text)
            return Response(error.json(include_input=False), 422, media_type="application/json")
        notification = notification._replace(
            request_id=said.generation_request_id, user_id=said.user_id
        )
        effect = records.notify(notification, text)
        await asyncio.sleep(self._faults.late_seconds)
        return JSONResponse({"status": effect}, 202)


def build(records: NotificationRecords, token: str = "") -> Starlette:
    """The ASGI application."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def notifications(request: Request) -> Response:
        return JSONResponse(records.notifications(request.query_params.get("request_id")))

    async def alerts(_request: Request) -> Response:
        return JSONResponse(records.alert_posts())

    async def index(_request: Request) -> Response:
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY}
        shown = page(records.active_alerts(), records.notifications(latest=SHOWN))
        return HTMLResponse(shown, headers=headers)

    return Starlette(
        routes=[
            *NotificationApi(records, token).routes(),
            Route("/", index),
            Route("/_sandbox/health", health),
            Route("/_sandbox/notifications", notifications),
            Route("/_sandbox/alerts", alerts),
            *AlertmanagerApi(records).routes(),
        ]
    )


def _notification(request: Request, kind: str) -> Notification:
    headers = request.headers
    return Notification(
        kind,
        idempotency_key=headers.get(IDEMPOTENCY_HEADER),
        correlation_id=headers.get(CORRELATION_HEADER),
        traceparent=headers.get("traceparent"),
    )


def main() -> None:
    """Reads the options and serves until SIGTERM."""
    options = argparse.ArgumentParser(
        prog="sandbox_notifications", description="Notification sandbox."
    )
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--state", type=Path, required=True, help="folder of its SQLite file")
    options.add_argument("--token", default=os.environ.get("DURAGEN_SANDBOX_NOTIFY_TOKEN", ""))
    chosen = options.parse_args()
    serve(build(NotificationRecords(chosen.state), chosen.token), chosen.port)


if __name__ == "__main__":
    main()
