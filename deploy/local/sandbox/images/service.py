"""What the two protocols of the sandbox image service share: making images, and breaking."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp

from deploy.local.sandbox.images import broken_images, painter
from deploy.local.sandbox.images.call_log import Call, CallLog
from deploy.local.sandbox.images.faults import Fault, Faults, Kind
from deploy.local.sandbox.images.painter import FORMATS, Picture
from deploy.local.sandbox.serving import close, no_answer, reset

MIN_SIDE, MAX_SIDE = 64, 4_096
"""Pixels that the sandbox is willing to paint on a side."""

_REFUSING = {Kind.STATUS, Kind.HTML, Kind.EMPTY, Kind.CLOSE, Kind.HANG}
"""Faults that happen before anything was accepted: nothing is paid."""


class ImageService:
    """One process' state: the call log, the faults, the painters."""

    def __init__(
        self, state: Path, latency_seconds: float = 0, *, canned_bytes: int | None = None
    ) -> None:
        self.call_log = CallLog(state)
        self.faults = Faults(latency_seconds=latency_seconds)
        self.canned = painter.noise(canned_bytes) if canned_bytes else None
        # Two painters: more would only take turns on the machines this runs on.
        self._painters = ThreadPoolExecutor(2, thread_name_prefix="painter")

    async def paint(self, picture: Picture, image_format: str, fault: Kind | None) -> bytes:
        """The image's bytes, or what `fault` makes of them."""
        match fault:
            case Kind.BOMB:
                return broken_images.bomb()
            case Kind.HTML_IMAGE:
                return broken_images.HTML
            case Kind.EMPTY_IMAGE:
                return b""
            case Kind.WRONG_SIZE:
                picture = picture._replace(width=picture.width // 2, height=picture.height // 2)
            case _:
                pass
        loop = asyncio.get_running_loop()
        image = await loop.run_in_executor(self._painters, painter.paint, picture, image_format)
        return broken_images.half(image) if fault is Kind.HALF_IMAGE else image

    def refuse(self, request: Request, call: Call, fault: Fault | None) -> ASGIApp | None:
        """The answer, or the silence, when the fault comes before acceptance; otherwise None."""
        if fault is None or fault.kind not in _REFUSING:
            return None
        self.call_log.record(call, f"fault: {fault.kind}")
        return broken_answer(request, fault)


def broken_answer(request: Request, fault: Fault) -> ASGIApp:
    """What the client gets in place of a right answer."""
    match fault.kind:
        case Kind.HTML:
            return Response(broken_images.HTML, media_type="text/html")
        case Kind.EMPTY:
            return Response(b"")
        case Kind.CLOSE:
            close(request)
            return no_answer
        case Kind.STATUS:
            return _status(fault)
        case _:
            return no_answer


def lose_answer(request: Request, fault: Fault) -> ASGIApp | None:
    """Silence after the work was accepted, if the fault asks for it."""
    if fault.kind is Kind.ACCEPT_THEN_RESET:
        reset(request)
        return no_answer
    return no_answer if fault.kind is Kind.ACCEPT_THEN_HANG else None


def _status(fault: Fault) -> Response:
    if isinstance(fault.body, dict):
        body, kind = json.dumps(fault.body), "application/json"
    else:
        body, kind = fault.body, "text/plain"
    return Response(body, fault.status, headers={"content-type": kind} | fault.headers)


def drip(body: bytes, media_type: str, seconds: float) -> StreamingResponse:
    """A right answer, in twenty pieces over `seconds`."""
    pieces = 20
    step = -(-len(body) // pieces)

    async def slowly() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            await asyncio.sleep(seconds / pieces)
            yield body[start : start + step]

    return StreamingResponse(
        slowly(), media_type=media_type, headers={"content-length": str(len(body))}
    )


def call_of(request: Request, protocol: str, operation: str) -> Call:
    """The call as the call log wants it, without body and model."""
    headers = request.headers
    return Call(
        protocol,
        operation,
        correlation_id=headers.get("x-correlation-id"),
        traceparent=headers.get("traceparent"),
    )


def media_type(image_format: str) -> str:
    """The content type of an image format."""
    return FORMATS[image_format]
