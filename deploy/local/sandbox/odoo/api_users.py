"""What an administrator does for API users of a real Odoo: keys, and limits."""

import secrets
from uuid import UUID

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.local.sandbox.odoo.jobs import Jobs, Limits


def api_user_routes(jobs: Jobs) -> list[Route]:
    """`POST /_sandbox/keys`, `DELETE /_sandbox/keys/{key}`, `PUT /_sandbox/limits`."""

    async def make_key(request: Request) -> Response:
        """A new key of a new user; with `?user_id=`, of that one."""
        key, user_id = secrets.token_hex(20), request.query_params.get("user_id")
        try:
            user = jobs.add_key(key, UUID(user_id) if user_id else None)
        except ValueError:
            return JSONResponse({"error": "user_id: a UUID"}, 422)
        return JSONResponse({"key": key, "userId": str(user)}, 201)

    async def drop_key(request: Request) -> Response:
        jobs.drop_key(request.path_params["key"])
        return Response(status_code=204)

    async def put_limits(request: Request) -> Response:
        try:
            jobs.limits = Limits.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), 422, media_type="application/json")
        return JSONResponse(jobs.limits.model_dump())

    return [
        Route("/_sandbox/keys", make_key, methods=["POST"]),
        Route("/_sandbox/keys/{key}", drop_key, methods=["DELETE"]),
        Route("/_sandbox/limits", put_limits, methods=["PUT"]),
    ]
