"""What goes wrong at the sandbox Odoo on demand: broken answers, and calls that are held at a step.

`PUT /_sandbox/faults` breaks answers. `PUT /_sandbox/hold` holds what an API user's call does, and
`GET /_sandbox/hold` says whether it is there: so that a test can kill a process at that very step.
"""

import asyncio
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Step = Literal["asked", "committed", "started", "answering"]
"""Nothing decided yet; charged, and the hook not begun; Duragen has the job, and Odoo has not
written that down; all done, and not answered yet."""


class Faults(BaseModel):
    """What is wrong with the next `times` deliveries, or calls of the API; None is all, 0 none.

    The first that is set happens: `hang` before and `commit_then_hang` after the event is booked.
    `late_seconds` pass between the booking and a right answer.
    """

    model_config = ConfigDict(extra="forbid")

    of: Literal["deliveries", "api"] = "deliveries"
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    hang: bool = False
    commit_then_hang: bool = False
    html: bool = False
    jsonrpc_error: bool = False
    late_seconds: Annotated[float, Field(ge=0, le=600)] = 0
    times: Annotated[int, Field(ge=0)] | None = None

    def take(self, kind: str) -> bool:
        """Whether this delivery, or this call of the API, meets the fault."""
        if kind != self.of:
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Held(BaseModel):
    """The step at which calls are held, None for none, and how many have reached it."""

    model_config = ConfigDict(extra="forbid")

    at: Step | None = None
    reached: Annotated[int, Field(ge=0)] = 0


class Hold:
    """Holds whoever comes to the step, hook and outbox alike, until another one is named."""

    def __init__(self) -> None:
        self.now = Held()
        self._changed = asyncio.Event()

    async def passed(self, step: Step) -> None:
        """Return when nothing is held at this step."""
        while self.now.at == step:
            self.now.reached += 1
            await self._changed.wait()

    async def put(self, request: Request) -> Response:
        """`PUT /_sandbox/hold`: those who are held go on."""
        try:
            self.now = Held.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), 422, media_type="application/json")
        self._changed.set()
        self._changed = asyncio.Event()
        return await self.get(request)

    async def get(self, _request: Request) -> Response:
        """`GET /_sandbox/hold`."""
        return JSONResponse(self.now.model_dump())

    def routes(self) -> list[Route]:
        """Both."""
        return [
            Route("/_sandbox/hold", self.put, methods=["PUT"]),
            Route("/_sandbox/hold", self.get),
        ]
