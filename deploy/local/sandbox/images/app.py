"""The sandbox image service: speaks OpenAI Images and FLUX, makes real images, breaks on demand.

    python -m deploy.local.sandbox.images.app --port 8091 --state .duragen/images

By hand, words in the prompt make it fail: see `faults.fault_in`. In tests, `PUT /_sandbox/faults`
sets what happens to the next calls (`faults.Faults`), and `GET /_sandbox/calls` shows what really
happened, also what was paid for. Keys come from variables (`ImageProtocol.key_variable`).
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.local.sandbox.images.faults import Faults
from deploy.local.sandbox.images.protocols import PROTOCOLS
from deploy.local.sandbox.images.service import ImageService
from deploy.local.sandbox.serving import serve


def build(service: ImageService, keys: Mapping[str, str]) -> Starlette:
    """The ASGI application. `keys` by kind; a kind without one takes any key."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def put_faults(request: Request) -> Response:
        try:
            service.faults = Faults.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), 422, media_type="application/json")
        return JSONResponse(service.faults.model_dump(mode="json"))

    async def get_faults(_request: Request) -> Response:
        return JSONResponse(service.faults.model_dump(mode="json"))

    async def get_calls(request: Request) -> Response:
        wanted = request.query_params
        calls = service.call_log.calls(wanted.get("correlation_id"), wanted.get("operation"))
        return JSONResponse({"calls": calls, "paid": sum(call["paid"] for call in calls)})

    return Starlette(
        routes=[
            Route("/_sandbox/health", health),
            Route("/_sandbox/faults", put_faults, methods=["PUT"]),
            Route("/_sandbox/faults", get_faults),
            Route("/_sandbox/calls", get_calls),
            *(
                route
                for protocol in PROTOCOLS
                for route in protocol.api(service, keys.get(protocol.kind, "")).routes()
            ),
        ]
    )


def main() -> None:
    """Reads the options and serves until SIGTERM."""
    options = argparse.ArgumentParser(description="Sandbox image service.")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--state", type=Path, required=True, help="folder of its SQLite file")
    options.add_argument("--latency", type=float, default=0, help="seconds that an image takes")
    options.add_argument(
        "--canned-bytes",
        type=int,
        help="answer every OpenAI call with one precomputed 1024x1024 PNG of about this size",
    )
    chosen = options.parse_args()
    service = ImageService(chosen.state, chosen.latency, canned_bytes=chosen.canned_bytes)
    # By environment and not by option, for options can be read by every user of the machine.
    keys = {each.kind: os.environ.get(each.key_variable, "") for each in PROTOCOLS}
    serve(build(service, keys), chosen.port)


if __name__ == "__main__":
    main()
