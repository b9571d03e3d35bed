"""The OpenAI Images protocol of the sandbox: one synchronous, paid call."""

import asyncio
import base64
import json
import time
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deploy.local.sandbox.images import broken_images
from deploy.local.sandbox.images.faults import Fault, Kind
from deploy.local.sandbox.images.painter import FORMATS, Picture, seed_of
from deploy.local.sandbox.images.service import (
    MAX_SIDE,
    MIN_SIDE,
    ImageService,
    call_of,
    drip,
    lose_answer,
)

MODELS = ("gpt-image-2.5-sunburst", "gpt-image-2.5-flare")
_MAX_PROMPT = 32_000
_STAGES = {Kind.MODERATED_INPUT: "input", Kind.MODERATED_OUTPUT: "output"}


class _RefusedError(Exception):
    """The request itself is wrong: OpenAI's error object and its status."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.answer = _error(status, code, message, param)


class OpenAIApi:
    """`/v1/images/generations` and `/v1/models`; an empty key lets every key in."""

    def __init__(self, service: ImageService, key: str) -> None:
        self._service = service
        self._key = key
        self._canned = None
        if service.canned is not None:
            image = base64.b64encode(service.canned).decode()
            self._canned = _body(image, "1024x1024", "png")

    def routes(self) -> list[Route]:
        """What Starlette mounts."""
        return [
            Route("/v1/images/generations", self._generate, methods=["POST"]),
            Route("/v1/models", self._models),
        ]

    async def _models(self, request: Request) -> Response:
        if not self._may(request):
            return _unauthorized()
        models = [{"id": model, "object": "model", "owned_by": "sandbox"} for model in MODELS]
        return JSONResponse({"object": "list", "data": models})

    def _may(self, request: Request) -> bool:
        return not self._key or request.headers.get("authorization") == f"Bearer {self._key}"

    async def _generate(self, request: Request) -> ASGIApp:
        service = self._service
        body = await request.body()
        call = call_of(request, "openai", "submit")._replace(request=body.decode(errors="replace"))
        if not self._may(request):
            service.call_log.record(call, "refused: invalid_api_key")
            return _unauthorized()
        try:
            asked = _asked(body)
            picture, image_format = _picture(asked)
        except _RefusedError as error:
            service.call_log.record(call, f"refused: {error}")
            return error.answer
        call = call._replace(model=asked["model"])
        fault = service.faults.take("submit", picture.prompt)
        if refusal := service.refuse(request, call, fault):
            return refusal
        if fault and (answer := _refusal(fault.kind)):
            # An image that was moderated at the output had been made, and is paid for.
            paid = fault.kind is Kind.MODERATED_OUTPUT
            service.call_log.record(call, f"refused: {fault.kind}", paid=paid)
            return answer
        service.call_log.record(call, f"accepted: {fault.kind}" if fault else "accepted", paid=True)
        return await self._accepted(request, picture, image_format, fault)

    async def _accepted(
        self, request: Request, picture: Picture, image_format: str, fault: Fault | None
    ) -> ASGIApp:
        if self._service.faults.latency_seconds:
            await asyncio.sleep(self._service.faults.latency_seconds)
        if fault and (silence := lose_answer(request, fault)):
            return silence
        headers = {"x-request-id": f"req_{uuid4().hex}"}
        if self._canned and fault is None:
            return Response(self._canned, media_type="application/json", headers=headers)
        image = await self._service.paint(picture, image_format, fault.kind if fault else None)
        encoded = base64.b64encode(image).decode()
        if fault and fault.kind is Kind.NOT_BASE64:
            encoded = broken_images.NOT_BASE64
        body = _body(encoded, f"{picture.width}x{picture.height}", image_format)
        if fault and fault.kind is Kind.DRIP:
            return drip(body, "application/json", fault.seconds)
        return Response(body, media_type="application/json", headers=headers)


def _asked(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError:
        raise _RefusedError(400, "invalid_json", "We could not parse the JSON body.") from None
    if not isinstance(asked, dict):
        raise _RefusedError(400, "invalid_type", "The body must be an object.")
    model = asked.get("model")
    if not isinstance(model, str) or not model.startswith("gpt-image-"):
        raise _RefusedError(404, "model_not_found", f"The model '{model}' does not exist.", "model")
    return asked


def _picture(asked: dict[str, Any]) -> tuple[Picture, str]:
    prompt = asked.get("prompt")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= _MAX_PROMPT:
        raise _RefusedError(
            400, "invalid_value", f"prompt: 1 to {_MAX_PROMPT} characters.", "prompt"
        )
    image_format = asked.get("output_format", "png")
    if image_format not in FORMATS:
        raise _RefusedError(400, "invalid_value", "output_format: png, jpeg, webp", "output_format")
    if asked.get("n", 1) != 1:
        raise _RefusedError(400, "invalid_value", "The sandbox makes one image a call.", "n")
    width, height = _size(asked.get("size", "auto"))
    seed = asked.get("seed")
    if seed is None:
        seed = seed_of(prompt)
    elif not isinstance(seed, int):
        raise _RefusedError(400, "invalid_value", "seed: a whole number", "seed")
    return Picture(prompt, seed, width, height), image_format


def _size(size: object) -> tuple[int, int]:
    if size == "auto":
        return 1_024, 1_024
    width, _, height = str(size).partition("x")
    if width.isdecimal() and height.isdecimal() and len(width) < 6 and len(height) < 6:
        sides = int(width), int(height)
        if all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
            return sides
    raise _RefusedError(400, "invalid_value", f"Invalid size '{size}'.", "size")


def _body(encoded: str, size: str, image_format: str) -> bytes:
    answer = {
        "created": int(time.time()),
        "size": size,
        "quality": "high",
        "output_format": image_format,
        "data": [{"b64_json": encoded}],
        "usage": {"input_tokens": 20, "output_tokens": 4_160, "total_tokens": 4_180},
    }
    return json.dumps(answer).encode()


def _refusal(kind: Kind) -> Response | None:
    if stage := _STAGES.get(kind):
        return _error(
            400,
            "moderation_blocked",
            "Your request was rejected by the safety system.",
            moderation_details={"moderation_stage": stage, "categories": ["sandbox"]},
        )
    if kind is Kind.ERROR:
        return _error(500, "server_error", "The server had an error processing your request.")
    return None


def _unauthorized() -> Response:
    return _error(401, "invalid_api_key", "Incorrect API key provided.")


def _error(
    status: int, code: str, message: str, param: str | None = None, **more: Any
) -> JSONResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code, **more}
    return JSONResponse({"error": error}, status, headers={"x-request-id": f"req_{uuid4().hex}"})
