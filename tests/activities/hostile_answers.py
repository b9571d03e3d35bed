"""Answers that are small, or seem harmless, and grow; and how much a process grows by them.

As a program, `hostile_answers.py URL CALL…` makes calls to a peer as a worker would, after one that
warms it up, and prints how each ended and by how many MiB the process grew at the most meanwhile.
"""

import asyncio
import gzip
import json
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from uuid import UUID

import httpx
from pydantic import SecretStr

from activities.errors import OdooError, ProviderError
from activities.images import Wanted, check_image
from activities.odoo.callback import CallbackDelivery
from activities.providers.openai_dialect import OPENAI
from activities.providers.probing import LookUp, models_listed, probe_by_look_up
from contracts.events import GenerationFailed, GenerationRequested
from contracts.tasks import DeliverTask
from peers.odoo_rpc import OdooRpcError, OdooSession, RpcAccount
from tests.activities import odoo_events
from tests.activities.http_peer import Received, Reply, answer
from tests.activities.provider_calls import KEY, at_once, collection, flux, openai, submission
from tests.memory import forget_peak, peak_kib

MEBIBYTE = 1024 * 1024


@cache
def zeros_packed_twice(mebibytes: int) -> bytes:
    """`gzip, gzip` of zeros: a kilobyte or two for hundreds of megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    once = b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(mebibytes)) + packer.flush()
    return gzip.compress(once, 9)


def packed(body: bytes, encoding: str) -> Reply:
    """A JSON answer under a Content-Encoding."""
    return answer(200, body, {"content-type": "application/json", "content-encoding": encoding})


def as_json(body: bytes) -> Reply:
    """An answer that says it is JSON."""
    return answer(200, body, {"content-type": "application/json"})


def endless(piece: bytes, head: bytes = b"") -> Reply:
    """The same piece again and again, as long as somebody reads."""

    async def reply(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head or b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while True:
            writer.write(piece)
            await writer.drain()

    return reply


def _png(width: int, height: int, texts: int = 0) -> bytes:
    """The beginning of a PNG, with texts of a megabyte each that are packed into a kilobyte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(MEBIBYTE - 1), 9))
    pixels = chunk(b"IDAT", zlib.compress(bytes(64 * MEBIBYTE), 9))
    return b"\x89PNG\r\n\x1a\n" + head + text * texts + pixels + chunk(b"IEND", b"")


ANSWERS: dict[str, Callable[[], Reply]] = {
    "gzip, gzip": lambda: packed(zeros_packed_twice(192), "gzip, gzip"),
    "gzip bomb": lambda: packed(gzip.decompress(zeros_packed_twice(192)), "gzip"),
    "a million numbers": lambda: as_json(b'{"data":[' + b"1," * MEBIBYTE + b"1]}"),
    "a million objects": lambda: as_json(b'{"data":[' + b"{}," * MEBIBYTE + b"{}]}"),
    "a million fields": lambda: as_json(
        b"{" + b",".join(b'"%d":1' % n for n in range(MEBIBYTE)) + b"}"
    ),
    "a long text": lambda: as_json(b'{"error":"' + b"x" * (80 * MEBIBYTE) + b'"}'),
    "escapes": lambda: as_json(b'{"error":"' + b"\\n" * (10 * MEBIBYTE) + b'"}'),
    "no image in base64": lambda: as_json(
        b'{"data":[{"b64_json":"' + b"A\\/" * (7 * MEBIBYTE - 1024) + b'"}]}'
    ),
    "64 MiB in base64": lambda: as_json(
        b'{"data":[{"b64_json":"' + b"AAAA" * (64 * MEBIBYTE // 3) + b'"}]}'
    ),
    "packed texts in a picture": lambda: answer(200, _png(128, 96, texts=60)),
    "a picture of gigabytes": lambda: answer(200, _png(30_000, 30_000)),
    "deep": lambda: as_json(b'{"a":' * 700_000),
    "endless": lambda: endless(b" " * 65_536),
    "endless gzip": lambda: endless(
        gzip.compress(bytes(MEBIBYTE)), b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"
    ),
    "endless error": lambda: endless(b"e" * 65_536, b"HTTP/1.1 500 Oh\r\n\r\n"),
    "huge headers": lambda: endless(b"x-a: " + b"a" * 60_000 + b"\r\n", b"HTTP/1.1 200 OK\r\n"),
    "one huge header": lambda: endless(b"a" * 65_536, b"HTTP/1.1 200 OK\r\nx-a: "),
}
"""By name; made when they are needed."""


def asked(resolution: str = "128x96", aspect_ratio: str = "4:3") -> GenerationRequested:
    """A request for a small image, if nothing else is said."""
    return GenerationRequested(
        request_id=UUID(int=1),
        correlation_id=UUID(int=2),
        user_id=UUID(int=3),
        prompt="A lighthouse at dusk",
        model_id=UUID(int=4),
        resolution=resolution,
        aspect_ratio=aspect_ratio,
        callback_url="http://odoo.example.com/duragen/v1/callback",
    )


async def _submit_to_openai(http: httpx.AsyncClient, url: str) -> object:
    data = await openai(http, url).submit(submission(asked()), at_once)
    return check_image(data, Wanted("png", (128, 96)))


async def _submit_the_largest(http: httpx.AsyncClient, url: str) -> object:
    data = await openai(http, url).submit(submission(asked("4096x4096", "1:1")), at_once)
    return check_image(data, Wanted("png", (4096, 4096)))


async def _submit_to_flux(http: httpx.AsyncClient, url: str) -> object:
    return await flux(http, url).submit(submission(asked()), at_once)


async def _poll(http: httpx.AsyncClient, url: str) -> object:
    return await flux(http, url).poll(collection(asked(), f"{url}/poll"))


async def _fetch(http: httpx.AsyncClient, url: str) -> object:
    task = collection(asked(), f"{url}/poll")
    data = await flux(http, url).fetch(task, f"{url}/a.png", at_once)
    return check_image(data, Wanted("png", (128, 96)))


async def _probe(http: httpx.AsyncClient, url: str) -> object:
    look_up = LookUp(f"{url}/v1/models", {}, models_listed(["m-1"], "p"), dialect=OPENAI)
    return await probe_by_look_up(http, "p", url, SecretStr(KEY), look_up)


def outcome(odoo: str) -> tuple[DeliverTask, GenerationFailed]:
    """A failure on its way to an Odoo."""
    task = odoo_events.failed(odoo)
    return task, GenerationFailed(
        request_id=task.request_id,
        correlation_id=task.correlation_id,
        status="failed",
        error_message="no image",
    )


async def _call_back(http: httpx.AsyncClient, url: str) -> object:
    return await CallbackDelivery(http, url, [], []).deliver(*outcome(url))


async def _call_rpc(_: httpx.AsyncClient, url: str) -> object:
    account = RpcAccount(url, "db", "login", "password", "model", "method")
    return await asyncio.to_thread(OdooSession(account, 20).login)


CALLS: dict[str, Callable[[httpx.AsyncClient, str], Awaitable[object]]] = {
    "submit to openai": _submit_to_openai,
    "submit the largest to openai": _submit_the_largest,
    "submit to flux": _submit_to_flux,
    "poll": _poll,
    "fetch": _fetch,
    "probe": _probe,
    "call back": _call_back,
    "odoorpc": _call_rpc,
}


async def _main(url: str, calls: Sequence[str]) -> None:
    found: dict[str, list[object]] = {}
    async with httpx.AsyncClient(timeout=None, trust_env=False) as http:
        for name in ["warm up", *calls]:
            forget_peak()
            before = peak_kib()
            try:
                result = await CALLS.get(name, _submit_to_openai)(http, url)
                ended = type(result).__name__
            except (ProviderError, OdooError, OdooRpcError) as error:
                ended = type(error).__name__
            found[name] = [ended, (peak_kib() - before) / 1024]
    del found["warm up"]
    print(json.dumps(found))  # for the test that started it


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2:]))
