"""The codec server's application: the protocol of Temporal's codec servers, for callers with a key.

    POST …/decode    payloads as JSON in, the same in clear out; 400 names a key that is missing
    POST …/encode    the other way, when the settings say so
    GET  /           for a browser: asks for the key, and remembers it for the Web UI's page
    GET  /health     without a key

Only the last part of a path counts, as the protocol wants it: `/{namespace}/decode` is `/decode`.
Nothing of what is decoded is logged or kept.
"""

import base64
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.message import Message

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads

from peers.encryption import EncryptionError, PayloadEncryption
from peers.json_bounds import JsonBoundsError, check_json
from starter.codec.settings import CodecProcess
from starter.keys import holder_of
from starter.private_answers import PrivateAnswers
from starter.request_body import BodyRefusedError, BodyRoom, bounded_body

logger = logging.getLogger(__name__)

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="Duragen codec", charset="UTF-8"'}


class _Codec:
    """What all requests share."""

    def __init__(self, settings: CodecProcess, encryption: PayloadEncryption) -> None:
        self._settings = settings
        self._encryption = encryption
        self._room = BodyRoom()

    async def decode(self, request: Request) -> Response:
        """`POST …/decode`."""
        return await self._answer(request, "decode", self._encryption.decode_wrapper)

    async def encode(self, request: Request) -> Response:
        """`POST …/encode`."""
        return await self._answer(request, "encode", self._encryption.encode_wrapper)

    async def welcome(self, request: Request) -> Response:
        """`GET /`: a browser that was asked for the key here sends it along from the Web UI."""
        self._caller(request)
        return PlainTextResponse("This browser may decode now. Go back to Temporal's Web UI.\n")

    async def _answer(
        self, request: Request, what: str, work: Callable[[Payloads], Awaitable[None]]
    ) -> Response:
        caller = self._caller(request)
        limit = self._settings.max_body_bytes
        payloads = _parsed(await _read(request, limit, self._room, caller))
        try:
            await work(payloads)
        except EncryptionError as error:
            logger.warning("payloads: not %sd: %s", what, error, extra={"caller": caller})
            raise HTTPException(400, str(error)) from None
        logger.info(
            "payloads: %s", what, extra={"caller": caller, "payloads": len(payloads.payloads)}
        )
        return JSONResponse(MessageToDict(payloads))

    def _caller(self, request: Request) -> str:
        """The name of who asks. Raises HTTPException 401."""
        given = _key_of(request.headers.get("authorization", ""))
        key = holder_of(given, self._settings.keys)
        if key is None:
            address = request.client.host if request.client else ""
            logger.warning("refused: no key, or not one of ours", extra={"address": address})
            raise HTTPException(401, "send Authorization: Bearer KEY", headers=_CHALLENGE)
        return key.name


def _key_of(header: str) -> str:
    """What a `Bearer` or a `Basic` header carries; of the latter the password, whoever the user."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2]
    return ""


async def _read(request: Request, max_bytes: int, room: BodyRoom, caller: str) -> bytes:
    """The body. Raises HTTPException 400, 408, 413, 415 or 503."""
    given = Message()
    given["Content-Type"] = request.headers.get("content-type", "")
    if given.get_content_type() != "application/json":
        raise HTTPException(415, "send Content-Type: application/json")
    try:
        return await bounded_body(request, max_bytes, room, caller)
    except BodyRefusedError as error:
        raise HTTPException(error.status, error.detail) from None


def _parsed(body: bytes) -> Payloads:
    """Counted before anything is built. Raises HTTPException 400 or 413, without contents."""
    try:
        check_json(body)
        return Parse(body, Payloads(), ignore_unknown_fields=True)
    except JsonBoundsError as error:
        raise HTTPException(413, str(error)) from None
    except (ParseError, ValueError, RecursionError):
        raise HTTPException(
            400, "the body is not temporal.api.common.v1.Payloads in JSON"
        ) from None


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "live"})


def create_app(settings: CodecProcess, encryption: PayloadEncryption) -> Starlette:
    """The application."""
    codec = _Codec(settings, encryption)
    routes = [
        Route("/", codec.welcome),
        Route("/health", _health),
        Route("/{prefix:path}/decode", codec.decode, methods=["POST"]),
        Route("/decode", codec.decode, methods=["POST"]),
    ]
    if settings.encode:
        routes += [
            Route("/{prefix:path}/encode", codec.encode, methods=["POST"]),
            Route("/encode", codec.encode, methods=["POST"]),
        ]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_credentials=True,
        allow_methods=["POST"],
        allow_headers=["Authorization", "Content-Type", "X-Namespace"],
    )
    return Starlette(routes=routes, middleware=[Middleware(PrivateAnswers), cors])
