"""`/v1/generate`: what API users call. spec: developer-api.sequence.

Odoo's addon decides and charges, and starts the generation by its own hook and outbox.
"""

import time
import uuid
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, ValidationError
from pydantic.json_schema import SkipJsonSchema

from contracts.names import CORRELATION_HEADER
from starter.gateway.body import read_model
from starter.gateway.developers.callers import MAX_BODY_BYTES, Asker, Caller, read
from starter.gateway.developers.desk import DeskError
from starter.gateway.developers.headers import (
    MAX_WAIT_SECONDS,
    cancel_after_of,
    correlation_id_of,
    idempotency_key_of,
    wait_of,
)
from starter.gateway.developers.models import (
    AcceptedJob,
    Estimate,
    Job,
    Jobs,
    JobState,
    Limit,
    Parameters,
)
from starter.gateway.openapi import body_of, header
from starter.gateway.problems import ProblemError, documented
from starter.request_body import BodyRoom

_ANSWER = {
    "Location": header("The job's status, as `statusUrl`."),
    CORRELATION_HEADER: header("By which operators find the job."),
    "Idempotent-Replayed": header(
        "There when the same Idempotency-Key came before; nothing was charged.", enum=["true"]
    ),
    "Preference-Applied": header("How long it was ready to wait: `wait=60`."),
    "RateLimit-Limit": header("Of the limit that is nearest to its end.", "integer"),
    "RateLimit-Remaining": header("What is left of it.", "integer"),
    "RateLimit-Reset": header("Seconds until there is more.", "integer"),
}
JobId = Annotated[UUID, Path(description="`jobId` of the answer to your request.")]
# The patterns are for readers: `headers.py` decides, and names the header that is wrong.
IdempotencyKey = Annotated[
    str | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description="Any text of yours; within 24 hours it is one job.",
        examples=["order-1"],
        json_schema_extra={"pattern": "^[!-~]{1,202}$"},
    ),
]
Prefer = Annotated[
    str | SkipJsonSchema[None],
    Header(
        alias="Prefer",
        description="`wait=N`: answer when it has ended, in N seconds at most.",
        examples=["wait=60"],
    ),
]
CancelAfter = Annotated[
    str | SkipJsonSchema[None],
    Header(
        alias="Cancel-After",
        description="5s to 24h, such as 5m: then it is canceled.",
        examples=["5m"],
        json_schema_extra={"pattern": "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s?)?$"},
    ),
]
CorrelationId = Annotated[
    str | SkipJsonSchema[None],
    Header(
        alias=CORRELATION_HEADER,
        description="A UUID of yours: it finds the job in every log and trace.",
        examples=["3b241101-e2bb-4255-8caf-4136c566a962"],
    ),
]

MOST_AT_ONCE = 20
"""Jobs that Odoo is asked for at a time: so many prompts of 32,000 characters are 3.84 MB when
each character is written as six bytes, as control characters are."""

_AGAIN = (
    "Odoo does not answer: send it again with the same Idempotency-Key, nothing is charged twice"
)
_LOOK_FIRST = (
    "Odoo does not answer, and may have charged it: look at GET /v1/generate before you send it"
    " again; with an Idempotency-Key that would be harmless"
)

developers_api = APIRouter(prefix="/v1/generate", tags=["developers"])


@developers_api.post(
    "",
    status_code=202,
    response_model=AcceptedJob,
    responses={
        200: {
            "model": Job,
            "description": "It has ended: with `Prefer: wait` alone",
            "headers": _ANSWER,
        },
        202: {"description": "It is charged, and will be made", "headers": _ANSWER},
        **documented(400, 401, 402, 403, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=body_of(Parameters),
    summary="Ask for an image",
)
async def generate(
    request: Request,
    caller: Caller,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
    cancel_after: CancelAfter = None,
    x_correlation_id: CorrelationId = None,
) -> JSONResponse:
    """Charge the price and start the job, or say why not; the image comes later.

    Send an `Idempotency-Key`: the same request again, after an answer that was lost, is then the
    same job.
    """
    developers, began = caller.developers, time.monotonic()
    given = idempotency_key_of(idempotency_key)
    seconds = cancel_after_of(cancel_after)
    parameters = await _parameters(request, developers.room)
    # Without one of the caller's, it makes our own second try harmless.
    reference = given or f"gateway-{uuid.uuid4()}"
    asked = (parameters, reference, seconds, correlation_id_of(x_correlation_id))
    answer = await _submitted(caller, asked, _AGAIN if given else _LOOK_FIRST)
    job = caller.job(answer)
    request.state.request_id = job.job_id
    headers = {
        "Location": job.status_url,
        CORRELATION_HEADER: str(job.correlation_id),
        **_limits_of(answer),
    }
    if given and answer.get("replayed"):
        headers["Idempotent-Replayed"] = "true"
    if wait := wait_of(prefer):
        headers["Preference-Applied"] = f"wait={wait}"
        left = min(wait, MAX_WAIT_SECONDS - (time.monotonic() - began))
        # A repeat may be of one that ended long ago, which Temporal has forgotten.
        if job.status.is_final or await developers.waiting.ended(job.job_id, left, request):
            with suppress(ProblemError):  # it is accepted, whatever Odoo says now
                ended = caller.job(await caller.ask("status", str(job.job_id)))
                if ended.status.is_final:
                    return JSONResponse(ended.model_dump(mode="json"), 200, headers)
    accepted = AcceptedJob(
        job_id=job.job_id,
        status=JobState.PENDING,
        price=job.price,
        created_at=job.created_at,
        cancel_at=job.cancel_at,
        status_url=job.status_url,
    )
    return JSONResponse(accepted.model_dump(mode="json"), 202, headers)


@developers_api.post(
    "/estimate",
    responses=documented(400, 401, 403, 408, 413, 415, 422, 503),
    openapi_extra=body_of(Parameters),
    response_description="The price, and what is left",
    summary="What an image would cost",
)
async def estimate(request: Request, caller: Caller) -> Estimate:
    """The price, and what is left of credits and limits. Nothing is made or charged."""
    parameters = await _parameters(request, caller.developers.room)
    return read(Estimate, await caller.ask("estimate", parameters))


@developers_api.get(
    "",
    responses=documented(401, 403, 422, 503),
    response_description="One page of them",
    summary="Your jobs",
)
async def jobs(  # each is a filter
    caller: Caller,
    state: Annotated[JobState | None, Query(description="Those in this state alone.")] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="Created then or later; with its offset.")
    ] = None,
    model: Annotated[UUID | None, Query(description="A modelId.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Of one page.")] = 20,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
) -> Jobs:
    """The newest first, page by page; those of all ways in, also of Odoo's own pages."""
    filters: dict[str, Any] = {
        "status": state and state.value,
        "since": since and since.isoformat(),
        "modelId": model and str(model),
        "after": cursor and str(cursor),
    }
    found: list[Job] = []
    while True:
        filters["limit"] = min(limit - len(found), MOST_AT_ONCE)
        given = {name: value for name, value in filters.items() if value is not None}
        answer = await caller.ask("list_requests", given)
        page = answer.get("jobs")
        if not isinstance(page, list):
            raise DeskError
        found += [caller.job(each) for each in page]
        filters["after"] = answer.get("next")
        if not page or not filters["after"] or len(found) >= limit:
            return read(Jobs, {"jobs": found, "next": filters["after"]})


@developers_api.get(
    "/{job_id}/status",
    responses=documented(401, 403, 404, 422, 503),
    response_description="The job",
    summary="Where a job stands",
)
async def status(request: Request, caller: Caller, job_id: JobId) -> Job:
    """With a fresh link to the image, when it is there."""
    request.state.request_id = job_id
    return caller.job(await caller.ask("status", str(job_id)))


@developers_api.delete(
    "/{job_id}",
    status_code=202,
    response_model=Job,
    responses={
        200: {"model": Job, "description": "It has ended; nothing more will happen"},
        **documented(401, 403, 404, 422, 503),
    },
    response_description="It is asked for; the status says what came of it",
    summary="Cancel a job",
)
async def cancel(request: Request, caller: Caller, job_id: JobId) -> JSONResponse:
    """Free until the image service has it; `charged` of its status says what it came to."""
    request.state.request_id = job_id
    job = caller.job(await caller.ask("cancel", str(job_id)))
    return JSONResponse(job.model_dump(mode="json"), 200 if job.status.is_final else 202)


async def _submitted(caller: Asker, asked: tuple[Any, ...], lost: str) -> dict[str, Any]:
    """Odoo's answer, asked for once more when the first one is lost.

    Raises ProblemError, which says `lost` when the second one is lost, too.
    """
    try:
        return await caller.ask("submit", *asked)
    except DeskError:
        pass
    try:
        return await caller.ask("submit", *asked)
    except DeskError:
        raise ProblemError(503, lost) from None


async def _parameters(request: Request, room: BodyRoom) -> dict[str, Any]:
    """The body's fields, in the one spelling that Odoo compares."""
    caller = request.state.caller_name
    found = await read_model(Parameters, request, MAX_BODY_BYTES, room, caller)
    return found.model_dump(mode="json", exclude_none=True)


def _limits_of(answer: dict[str, Any]) -> dict[str, str]:
    """The limit that is nearest to its end, as IETF draft-ietf-httpapi-ratelimit-headers-05."""
    try:
        limits = [Limit.model_validate(each) for each in answer.get("limits") or ()]
    except (ValidationError, TypeError):
        limits = []  # the job is charged: its answer goes out all the same
    if not limits:
        return {}
    nearest = min(limits, key=lambda each: (each.remaining, -each.reset))
    found = {"Limit": nearest.limit, "Remaining": nearest.remaining, "Reset": nearest.reset}
    return {f"RateLimit-{name}": str(value) for name, value in found.items()}
