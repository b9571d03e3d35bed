"""A request's body, read within bounds; what is wrong with it becomes an HTTP status."""

import asyncio

from starlette.requests import ClientDisconnect, Request

BODY_SECONDS = 10.0
"""How long a caller may take to send its body; a slower one would only hold a connection."""


class BodyRefusedError(Exception):
    """The body is not taken: 400, 408, 413 or 415, and why. Nothing of it is quoted."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


async def bounded_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, as it was sent. Raises BodyRefusedError."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise BodyRefusedError(415, "send the body without a Content-Encoding")
    too_large = BodyRefusedError(413, f"the body is over {max_bytes} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            # Counted while it comes: a chunked body announces no length.
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise BodyRefusedError(408, f"the body took longer than {BODY_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise BodyRefusedError(400, "the connection was closed before the body's end") from None
    return bytes(body)
