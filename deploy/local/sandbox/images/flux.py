"""The FLUX protocol of the sandbox: submit (paid), poll, fetch the sample."""

import json
import re
import time
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deploy.local.sandbox.images.call_log import Job
from deploy.local.sandbox.images.faults import Fault, Kind
from deploy.local.sandbox.images.painter import Picture, seed_of
from deploy.local.sandbox.images.service import (
    MAX_SIDE,
    MIN_SIDE,
    ImageService,
    broken_answer,
    call_of,
    drip,
    lose_answer,
    media_type,
)

SAMPLE_LIFE_SECONDS = 600
_STATUS_OF_FAULT = {
    Kind.MODERATED_INPUT: "Request Moderated",
    Kind.MODERATED_OUTPUT: "Content Moderated",
    Kind.ERROR: "Error",
}

_RATIO_MODELS = re.compile(r"flux-pro-1\.1-ultra|flux-kontext-\w+")
"""They ignore width and height, and choose the pixels for a ratio."""

Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]


class _Task(BaseModel):
    """The body of a submission; what the real service knows beyond this is ignored."""

    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    width: Side = 1_024
    height: Side = 1_024
    aspect_ratio: Annotated[str, Field(pattern=r"^\d{1,2}:\d{1,2}$")] = "16:9"
    seed: Annotated[int, Field(ge=0)] | None = None
    safety_tolerance: Annotated[int, Field(ge=0, le=5)] = 2
    output_format: Literal["png", "jpeg"] = "png"


class _RefusedError(Exception):
    """The submission is not accepted, and this is the answer."""

    def __init__(self, why: str, answer: Response) -> None:
        super().__init__(why)
        self.answer = answer


class FluxApi:
    """`/v1/{model}`, `/v1/get_result`, `/samples/{id}.{format}`; an empty key lets every key in."""

    def __init__(self, service: ImageService, key: str) -> None:
        self._service = service
        self._key = key

    def routes(self) -> list[Route]:
        """What Starlette mounts."""
        return [
            Route("/v1/credits", self._credits),
            Route("/v1/get_result", self._poll),
            Route("/samples/{name}", self._sample),
            Route("/v1/{model}", self._submit, methods=["POST"]),
        ]

    def _may(self, request: Request) -> bool:
        return not self._key or request.headers.get("x-key") == self._key

    async def _credits(self, request: Request) -> Response:
        if not self._may(request):
            return _not_authenticated()
        return JSONResponse({"credits": 1_000.0})

    async def _submit(self, request: Request) -> ASGIApp:
        service, model = self._service, request.path_params["model"]
        body = await request.body()
        call = call_of(request, "flux", "submit")._replace(
            model=model, request=body.decode(errors="replace")
        )
        try:
            task = self._task(request, model, body)
        except _RefusedError as error:
            service.call_log.record(call, f"refused: {error}")
            return error.answer
        fault = service.faults.take("submit", task.prompt)
        if refusal := service.refuse(request, call, fault):
            return refusal
        job = self._job(model, task, fault)
        service.call_log.accept(call, job, f"accepted: {fault.kind}" if fault else "accepted")
        if fault and (silence := lose_answer(request, fault)):
            return silence
        polling_url = str(request.base_url.replace(path="/v1/get_result", query=f"id={job.id}"))
        return JSONResponse({"id": job.id, "polling_url": polling_url})

    def _task(self, request: Request, model: str, body: bytes) -> _Task:
        if not self._may(request):
            raise _RefusedError("not authenticated", _not_authenticated())
        if not model.startswith("flux-"):
            raise _RefusedError("no such model", JSONResponse({"detail": "Not Found"}, 404))
        try:
            return _Task.model_validate_json(body)
        except ValidationError as error:
            detail = json.loads(error.json(include_url=False, include_context=False))
            answer = JSONResponse({"detail": detail}, 422)
            raise _RefusedError("invalid body", answer) from None

    def _job(self, model: str, task: _Task, fault: Fault | None) -> Job:
        now = time.time()
        width, height = task.width, task.height
        if _RATIO_MODELS.fullmatch(model):
            width, height = _of_ratio(task.aspect_ratio)
        return Job(
            id=str(uuid4()),
            model=model,
            prompt=task.prompt,
            seed=seed_of(task.prompt) if task.seed is None else task.seed,
            width=width,
            height=height,
            format=task.output_format,
            accepted_at=now,
            ready_at=now + self._service.faults.latency_seconds,
            fault=fault.kind if fault else None,
        )

    async def _poll(self, request: Request) -> ASGIApp:
        service, job_id = self._service, request.query_params.get("id", "")
        call = call_of(request, "flux", "poll")._replace(job_id=job_id)
        if not self._may(request):
            service.call_log.record(call, "refused: not authenticated")
            return _not_authenticated()
        if fault := service.faults.take("poll"):
            service.call_log.record(call, f"fault: {fault.kind}")
            if fault.kind is Kind.JOB_LOST:
                return _task_not_found(job_id)
            return broken_answer(request, fault)
        job = service.call_log.job(job_id)
        if job is None or job.fault == Kind.JOB_LOST:
            service.call_log.record(call, "Task not found")
            return _task_not_found(job_id)
        answer = _result(job, request)
        service.call_log.record(call, str(answer["status"]))
        return JSONResponse(answer)

    async def _sample(self, request: Request) -> ASGIApp:
        service = self._service
        job_id, _, _ = request.path_params["name"].partition(".")
        call = call_of(request, "flux", "sample")._replace(job_id=job_id)
        job = service.call_log.job(job_id)
        fault = service.faults.take("sample")
        if refusal := service.refuse(request, call, fault):
            return refusal
        kind = fault.kind if fault else (Kind(job.fault) if job and job.fault else None)
        too_early = job is None or time.time() < job.ready_at
        too_late = job is not None and time.time() > job.ready_at + SAMPLE_LIFE_SECONDS
        if job is None or too_early or too_late or kind is Kind.SAMPLE_EXPIRED:
            service.call_log.record(call, "expired")
            return Response("AuthenticationFailed: Signed expiry time", 403)
        service.call_log.record(call, f"fault: {kind}" if kind else "sent")
        picture = Picture(job.prompt, job.seed, job.width, job.height)
        image = await service.paint(picture, job.format, kind)
        if kind is Kind.DRIP:
            return drip(image, media_type(job.format), fault.seconds if fault else 2)
        return Response(image, media_type=media_type(job.format))


def _of_ratio(ratio: str) -> tuple[int, int]:
    """About a fifth of a megapixel, which paints fast, in multiples of 16 as the service rounds."""
    across, down = map(int, ratio.split(":"))
    scale = (200_000 / (across * down)) ** 0.5
    width, height = (max(round(side * scale / 16) * 16, MIN_SIDE) for side in (across, down))
    return width, height


def _result(job: Job, request: Request) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": job.id, "result": None, "progress": None, "details": None}
    waited = time.time() - job.accepted_at
    if refused := _STATUS_OF_FAULT.get(Kind(job.fault)) if job.fault else None:
        details = {"Moderation Reasons": ["sandbox"]} if "Moderated" in refused else None
        return answer | {"status": refused, "details": details}
    if job.fault == Kind.NEVER_READY:
        return answer | {"status": "Pending"}
    if time.time() < job.ready_at:
        progress = waited / (job.ready_at - job.accepted_at)
        return answer | {"status": "Pending", "progress": round(progress, 2)}
    sample = str(request.base_url.replace(path=f"/samples/{job.id}.{job.format}"))
    result = {
        "sample": sample,
        "seed": job.seed,
        "prompt": job.prompt,
        "duration": round(job.ready_at - job.accepted_at, 3),
    }
    return answer | {"status": "Ready", "result": result}


def _task_not_found(job_id: str) -> Response:
    return JSONResponse({"id": job_id, "status": "Task not found", "result": None})


def _not_authenticated() -> Response:
    return JSONResponse({"detail": "Not authenticated - Invalid Authentication"}, 403)
