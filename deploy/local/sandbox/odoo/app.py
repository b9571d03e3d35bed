"""The sandbox Odoo: takes the outcome of generations, keeps records and a credit ledger.

    python -m deploy.local.sandbox.odoo.app --port 8169 --state .duragen/odoo \
        --token TOKEN --signing-secret whsec_…

It has the callback (bearer token and Standard Webhooks signature), JSON-RPC for `odoorpc`, a page
to look at, and failures on demand (`PUT /_sandbox/faults`). Secrets come by options or from
`DURAGEN_SANDBOX_TOKEN`, `…_SIGNING_SECRET` and `…_PASSWORD`. `PUT /_sandbox/secrets` changes them,
as an administrator does on the settings page of a real Odoo: two of each, while they change.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from contracts.events import GenerationCompleted, GenerationFailed, GenerationRequested
from contracts.names import CORRELATION_HEADER
from deploy.local.sandbox.odoo.callers import CallbackSecrets
from deploy.local.sandbox.odoo.ledger import Envelope, Ledger, OverdrawnError
from deploy.local.sandbox.odoo.page import CONTENT_SECURITY_POLICY, page
from deploy.local.sandbox.odoo.rpc import METHOD, JsonRpc, OdooError, error_object
from deploy.local.sandbox.serving import no_answer, serve

CALLBACK_PATHS = (
    "/duragen/v1/callback",
    "/influencegen/n8ncallback/aiimage",
    "/api/v1/influencegen/ai-image-callback",
)
RPC_PATHS = ("/jsonrpc", "/web/webclient/version_info", "/web/session/authenticate")

_OUTCOME: TypeAdapter[GenerationCompleted | GenerationFailed] = TypeAdapter(
    Annotated[GenerationCompleted | GenerationFailed, Field(discriminator="status")]
)


class Faults(BaseModel):
    """What is wrong with the next `times` deliveries; None is all of them, 0 none.

    The first that is set happens: `hang` before and `commit_then_hang` after the event is booked.
    `late_seconds` pass between the booking and a right answer.
    """

    model_config = ConfigDict(extra="forbid")

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    hang: bool = False
    commit_then_hang: bool = False
    html: bool = False
    jsonrpc_error: bool = False
    late_seconds: Annotated[float, Field(ge=0, le=600)] = 0
    times: Annotated[int, Field(ge=0)] | None = None

    def take(self) -> bool:
        """Whether this delivery meets the fault."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class SandboxOdoo:
    """The handlers, over one ledger."""

    def __init__(self, ledger: Ledger, secrets: CallbackSecrets) -> None:
        self.ledger = ledger
        self.faults = Faults()
        self.secrets = secrets

    async def callback(self, request: Request) -> ASGIApp:
        """EVT-AIG-002 and 003: 200 also for a repeat; 401, 422."""
        body = await request.body()
        envelope = _envelope(request, "callback", body)
        faulty = self.faults.take()
        if faulty and (answer := self._broken(envelope)):
            return answer
        if problem := self.secrets.problem(request.headers, body):
            self.ledger.refuse(envelope, f"refused: {problem}")
            return JSONResponse({"error": problem}, 401)
        try:
            event = _OUTCOME.validate_json(body)
        except ValidationError as error:
            self.ledger.refuse(envelope, "refused: invalid")
            return Response(error.json(include_input=False), 422, media_type="application/json")
        effect = self.ledger.apply(event, envelope)
        if faulty and self.faults.commit_then_hang:
            return no_answer
        if faulty and self.faults.late_seconds:
            await asyncio.sleep(self.faults.late_seconds)
        return JSONResponse({"status": effect, "requestId": str(event.request_id)})

    async def rpc(self, request: Request, rpc: JsonRpc) -> ASGIApp:
        """JSON-RPC; faults meet only the calls that deliver an event."""
        body = await request.body()
        delivers = METHOD.encode() in body
        faulty = delivers and self.faults.take()
        if faulty and (answer := self._broken(_envelope(request, "odoorpc", body))):
            return answer
        try:
            envelope = json.loads(body or b"{}")
        except ValueError:
            return Response("Invalid JSON data", 400)
        answered = rpc.answer(request.url.path, envelope)
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
            event = _OUTCOME.validate_json(body)
        except ValidationError as error:
            self.ledger.refuse(envelope, "refused: invalid")
            raise OdooError("odoo.exceptions.ValidationError", str(error)) from None
        return {"status": self.ledger.apply(event, envelope), "requestId": str(event.request_id)}

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
        routes=[
            *(Route(path, odoo.callback, methods=["POST"]) for path in CALLBACK_PATHS),
            *(Route(path, call, methods=["POST"]) for path in RPC_PATHS),
            Route("/", index),
            Route("/_sandbox/health", health),
            Route("/_sandbox/faults", put_faults, methods=["PUT"]),
            Route("/_sandbox/secrets", odoo.put_secrets, methods=["PUT"]),
            Route("/_sandbox/requests", odoo.submit, methods=["POST"]),
            Route("/_sandbox/requests/{request_id}", one),
            Route("/_sandbox/users/{user_id:uuid}", user),
            Route("/_sandbox/deliveries", deliveries),
        ]
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
    chosen = options.parse_args()
    ledger = Ledger(chosen.state, chosen.user_errors, chosen.credits)
    secrets = CallbackSecrets(
        tokens=tuple(filter(None, [chosen.token])),
        signing_secrets=tuple(filter(None, [chosen.signing_secret])),
    )
    odoo = SandboxOdoo(ledger, secrets)
    rpc = JsonRpc(chosen.database, chosen.login, chosen.password, odoo.apply_event)
    serve(build(odoo, rpc), chosen.port)


if __name__ == "__main__":
    main()
