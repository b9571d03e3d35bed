"""What a broken image service hands out instead of an image."""

import functools
import struct
import zlib

BOMB_SIDE = 20_000
"""Pixels; 400 million of them decode to 1.2 GB as RGB."""

HTML = b"<!doctype html><title>Maintenance</title><h1>We will be back soon</h1>"
NOT_BASE64 = "%%% this is not base64 %%%"


def half(image: bytes) -> bytes:
    """The first half of a file: its header is fine, its end is missing."""
    return image[: len(image) // 2]


@functools.cache
def bomb() -> bytes:
    """A valid 1-bit PNG of 20,000 x 20,000 pixels in about 49 KB: what deflate shrinks at most."""
    row = bytes(1 + BOMB_SIDE // 8)
    shrink = zlib.compressobj(9)
    data = b"".join(shrink.compress(row * 1_000) for _ in range(BOMB_SIDE // 1_000))
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", data + shrink.flush()), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
