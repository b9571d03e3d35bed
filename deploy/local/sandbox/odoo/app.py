"""The sandbox Odoo: takes the outcome of generations, keeps records and a credit ledger.

    python -m deploy.local.sandbox.odoo.app --port 8169 --state .duragen/odoo \
        --token TOKEN --signing-secret whsec_…

It has the callback (bearer token and Standard Webhooks signature), JSON-RPC for `odoorpc`, a page
to look at, and failures on demand (`faults.py`). Secrets come by options or from
`DURAGEN_SANDBOX_TOKEN`, `…_SIGNING_SECRET` and `…_PASSWORD`. `PUT /_sandbox/secrets` changes them,
as an administrator does on the settings page of a real Odoo: two of each, while they change.

With `--gateway-url` it also has API users, whose jobs it starts there: `POST /_sandbox/keys` makes
a key, `PUT /_sandbox/limits` says how much they may ask for.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from contracts.callback_openapi import FAILURE_PATH
from contracts.callbacks import CALLBACK_PATHS, WEBHOOKS_PATH
from contracts.connection import TestEvent
from contracts.events import GenerationCompleted, GenerationFailed, GenerationRequested
from contracts.names import CORRELATION_HEADER
from deploy.local.sandbox.odoo.api_users import api_user_routes
from deploy.local.sandbox.odoo.callers import CallbackSecrets
from deploy.local.sandbox.odoo.failures import event_of_failure, faults_of, refusal
from deploy.local.sandbox.odoo.faults import Faults, Hold
from deploy.local.sandbox.odoo.jobs import Jobs, user_of
from deploy.local.sandbox.odoo.ledger import Envelope, Ledger, OverdrawnError
from deploy.local.sandbox.odoo.page import CONTENT_SECURITY_POLICY, page
from deploy.local.sandbox.odoo.rpc import API_MODEL, METHOD, JsonRpc, OdooError, error_object
from deploy.local.sandbox.odoo.starting import Starting
from deploy.local.sandbox.serving import HOST, no_answer, serve

RPC_PATHS = ("/jsonrpc", "/web/webclient/version_info", "/web/session/authenticate")

_Event = GenerationCompleted | GenerationFailed | TestEvent
_EVENT: TypeAdapter[_Event] = TypeAdapter(Annotated[_Event, Field(discriminator="status")])


class SandboxOdoo:
    """The handlers, over one ledger; `starting` where API users' jobs can be started."""

    def __init__(
        self, ledger: Ledger, secrets: CallbackSecrets, jobs: Jobs, starting: Starting | None = None
    ) -> None:
        self.ledger = ledger
        self.jobs = jobs
        self.starting = starting
        self.faults = Faults()
        self.hold = starting.hold if starting else Hold()
        self.secrets = secrets

    async def callback(self, request: Request) -> ASGIApp:
        """EVT-AIG-002 and 003: 200 also for a repeat; 401, 404, 422."""
        body = await request.body()
        envelope = _envelope(request, "callback", body)
        faulty = self.faults.take("deliveries")
        if faulty and (answer := self._broken(envelope)):
            return answer
        if problem := self.secrets.problem(request.headers, body):
            self.ledger.refuse(envelope, f"refused: {problem}")
            return refusal(401, problem)
        try:
            if request.url.path == FAILURE_PATH:
                body = event_of_failure(body, self.ledger)
            event = _EVENT.validate_json(body)
        except LookupError:
            self.ledger.refuse(envelope, "refused: unknown")
            return refusal(404, "There is no such request.")
        except ValidationError as error:
            self.ledger.refuse(envelope, "refused: invalid")
            return refusal(422, faults_of(error))
        effect = self._applied(event, envelope)
        if self.starting:
            await self.starting.after_commit()
        if faulty and self.faults.commit_then_hang:
            return no_answer
        if faulty and self.faults.late_seconds:
            await asyncio.sleep(self.faults.late_seconds)
        return JSONResponse({"status": effect, "requestId": str(event.request_id)})

    async def webhooks(self, request: Request) -> Response:
        """Duragen asks for a webhook to send, or says what came of it; 401, 422."""
        body = await request.body()
        if problem := self.secrets.problem(request.headers, body):
            return JSONResponse({"error": problem}, 401)
        try:
            said = json.loads(body)
            delivery_id = said["deliveryId"]
            if said["do"] == "prepare":
                return JSONResponse(self.jobs.webhooks.prepared(delivery_id))
            return JSONResponse(self.jobs.webhooks.reported(delivery_id, said))
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": repr(error)}, 422)

    async def rpc(self, request: Request, rpc: JsonRpc) -> ASGIApp:
        """JSON-RPC; faults meet only the calls that deliver an event, or those of the API."""
        body = await request.body()
        faulty = (METHOD.encode() in body and self.faults.take("deliveries")) or (
            API_MODEL.encode() in body and self.faults.take("api")
        )
        if faulty and (answer := self._broken(_envelope(request, "odoorpc", body))):
            return answer
        try:
            envelope = json.loads(body or b"{}")
        except ValueError:
            return Response("Invalid JSON data", 400)
        of_api = API_MODEL.encode() in body
        if of_api:
            await self.hold.passed("asked")
        answered = rpc.answer(request.url.path, envelope)
        if self.starting:
            await self.starting.after_commit()
        if of_api:
            await self.hold.passed("answering")
        if faulty and self.faults.commit_then_hang:
            return no_answer
        if faulty and self.faults.late_seconds:
            await asyncio.sleep(self.faults.late_seconds)
        return JSONResponse(answered)

    def apply_event(self, payload: dict[str, Any]) -> object:
        """What `odoo.env[MODEL].apply_event(payload)` does."""
        body = json.dumps(payload)
        correlation_id = str(payload.get("correlationId"))
        envelope = Envelope("odoorpc", correlation_id=correlation_id, body=body)
        try:
            # From JSON again, for the contract's rules are those of the wire.
            event = _EVENT.validate_json(body)
        except ValidationError as error:
            self.ledger.refuse(envelope, "refused: invalid")
            raise OdooError("odoo.exceptions.ValidationError", str(error)) from None
        return {"status": self._applied(event, envelope), "requestId": str(event.request_id)}

    def _applied(self, event: _Event, envelope: Envelope) -> str:
        # A connection test books nothing; unlike the addon, it takes any.
        return "tested" if isinstance(event, TestEvent) else self.ledger.apply(event, envelope)

    async def submit(self, request: Request) -> Response:
        """EVT-AIG-001: what a user does in a real Odoo; creates the record and the reservation.

        201, 200 for a repeat, 402 when the user's credits do not suffice.
        """
        try:
            event = GenerationRequested.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(include_input=False), 422, media_type="application/json")
        try:
            made = self.ledger.submit(event)
        except OverdrawnError as error:
            problem = {"title": "Not enough credits", "status": 402, "detail": str(error)}
            problem |= error.account._asdict()
            return JSONResponse(problem, 402, media_type="application/problem+json")
        return JSONResponse(self.ledger.request(str(event.request_id)), 201 if made else 200)

    async def put_secrets(self, request: Request) -> Response:
        """Change who may call back."""
        try:
            self.secrets = CallbackSecrets.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), 422, media_type="application/json")
        return JSONResponse({"status": "ok"})

    def _broken(self, envelope: Envelope) -> ASGIApp | None:
        """The answer of a broken Odoo, None when it is well, or only breaks after booking."""
        faults = self.faults
        answer: ASGIApp
        if faults.status:
            answer = JSONResponse({"error": "sandbox fault"}, faults.status)
        elif faults.hang:
            answer = no_answer
        elif faults.html:
            answer = HTMLResponse("<!doctype html><title>Odoo</title><h1>Log in</h1>")
        elif faults.jsonrpc_error:
            error = error_object("odoo.exceptions.UserError", "sandbox fault")
            answer = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error})
        else:
            return None
        self.ledger.refuse(envelope, "fault")
        return answer


def _envelope(request: Request, channel: str, body: bytes) -> Envelope:
    headers = request.headers
    return Envelope(
        channel,
        webhook_id=headers.get("webhook-id"),
        correlation_id=headers.get(CORRELATION_HEADER),
        traceparent=headers.get("traceparent"),
        body=body.decode(errors="replace"),
    )


def build(odoo: SandboxOdoo, rpc: JsonRpc) -> Starlette:
    """The ASGI application."""

    async def call(request: Request) -> ASGIApp:
        return await odoo.rpc(request, rpc)

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def put_faults(request: Request) -> Response:
        try:
            odoo.faults = Faults.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), 422, media_type="application/json")
        return JSONResponse(odoo.faults.model_dump())

    async def one(request: Request) -> Response:
        found = odoo.ledger.request(request.path_params["request_id"])
        return JSONResponse(found) if found else JSONResponse({"error": "unknown request"}, 404)

    async def user(request: Request) -> Response:
        account = odoo.ledger.account(str(request.path_params["user_id"]))
        return JSONResponse(account._asdict())

    async def deliveries(request: Request) -> Response:
        wanted = request.query_params
        after = wanted.get("after", "0")
        if not after.isdecimal():
            return JSONResponse({"error": "after: the number of a delivery"}, 422)
        return JSONResponse(odoo.ledger.deliveries(wanted.get("request_id"), int(after)))

    async def index(_request: Request) -> Response:
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY}
        return HTMLResponse(page(odoo.ledger.requests()), headers=headers)

    return Starlette(
        lifespan=odoo.starting.running if odoo.starting else None,
        routes=[
            *(Route(path, odoo.callback, methods=["POST"]) for path in CALLBACK_PATHS),
            Route(FAILURE_PATH, odoo.callback, methods=["POST"]),
            *(Route(path, call, methods=["POST"]) for path in RPC_PATHS),
            Route("/", index),
            Route("/_sandbox/health", health),
            Route("/_sandbox/faults", put_faults, methods=["PUT"]),
            *odoo.hold.routes(),
            Route("/_sandbox/secrets", odoo.put_secrets, methods=["PUT"]),
            Route("/_sandbox/requests", odoo.submit, methods=["POST"]),
            Route("/_sandbox/requests/{request_id}", one),
            Route("/_sandbox/users/{user_id:uuid}", user),
            Route("/_sandbox/deliveries", deliveries),
            *api_user_routes(odoo.jobs),
            Route(WEBHOOKS_PATH, odoo.webhooks, methods=["POST"]),
        ],
    )


def main() -> None:
    """Reads the options and serves until SIGTERM."""
    env = os.environ.get
    options = argparse.ArgumentParser(description="Sandbox Odoo.")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--state", type=Path, required=True, help="folder of its SQLite file")
    options.add_argument("--token", default=env("DURAGEN_SANDBOX_TOKEN", ""))
    options.add_argument("--signing-secret", default=env("DURAGEN_SANDBOX_SIGNING_SECRET", ""))
    options.add_argument("--database", default="sandbox")
    options.add_argument("--login", default="duragen")
    options.add_argument("--password", default=env("DURAGEN_SANDBOX_PASSWORD", "duragen"))
    options.add_argument(
        "--user-errors",
        choices=("release", "capture"),
        default="release",
        help="what a user's error does with the reserved credit",
    )
    options.add_argument(
        "--credits", type=int, default=1_000, help="what a new user is granted; a request costs 1"
    )
    options.add_argument("--gateway-url", help="where jobs of API users are started")
    options.add_argument("--gateway-key", default=env("DURAGEN_SANDBOX_GATEWAY_KEY", ""))
    options.add_argument("--api-key", default=env("DURAGEN_SANDBOX_API_KEY", ""))
    chosen = options.parse_args()
    ledger = Ledger(chosen.state, chosen.user_errors, chosen.credits)
    secrets = CallbackSecrets(
        tokens=tuple(filter(None, [chosen.token])),
        signing_secrets=tuple(filter(None, [chosen.signing_secret])),
    )
    here = f"http://{HOST}:{chosen.port}"
    jobs = Jobs(ledger, here + CALLBACK_PATHS[0])
    if chosen.api_key:
        jobs.add_key(chosen.api_key, user_of("developer"))
    starting = None
    if url := chosen.gateway_url:
        starting = Starting(jobs, ledger, url, chosen.gateway_key, here + WEBHOOKS_PATH)
    odoo = SandboxOdoo(ledger, secrets, jobs, starting)
    rpc = JsonRpc(chosen.database, chosen.login, chosen.password, odoo.apply_event, jobs.answer)
    serve(build(odoo, rpc), chosen.port)


if __name__ == "__main__":
    main()
