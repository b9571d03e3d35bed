"""Pictures for the sandbox: the same prompt, seed and size always give the same bytes.

A landscape and some film grain. The grain is there on purpose: without it a PNG would weigh a tenth
of what image services really send.
"""

import hashlib
import io
import random
from typing import NamedTuple

from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngInfo

from deploy.local.sandbox.images.landscape import landscape

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""What the sandbox can make, and its content type."""

_ZLIB_RLE = 3  # the fastest of zlib's strategies that still shrinks flat areas
_GRAIN_STEP = 22  # grain of 0 to 11 of 255: hardly seen, but it does not compress away


class Picture(NamedTuple):
    """What decides a picture; `width` and `height` in pixels."""

    prompt: str
    seed: int
    width: int
    height: int


def seed_of(prompt: str) -> int:
    """The seed of a request that names none: a random one could not be tested."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4])


def paint(picture: Picture, image_format: str = "png") -> bytes:
    """The encoded picture. About 80 ms at 1024x1024: call it in a thread."""
    image = _grain(_draw(picture), _dice(picture, "grain"))
    file = io.BytesIO()
    if image_format == "png":
        image.save(file, "PNG", compress_level=1, compress_type=_ZLIB_RLE)
    else:
        image.save(file, image_format.upper(), quality=88)
    return file.getvalue()


def noise(target_bytes: int, side: int = 1_024) -> bytes:
    """A real square PNG of about `target_bytes`: noise for the size, flat elsewhere.

    Bytes beyond what the pixels hold (3.1 MB at 1024) go into a private chunk, which decoders
    skip.
    """
    raw = side * side * 3
    noisy = min(max(target_bytes, 0), raw)
    dice = random.Random(noisy)  # noqa: S311  # a picture, not a secret
    pixels = dice.randbytes(noisy) + bytes(raw - noisy)
    padding = PngInfo()
    if target_bytes > raw:
        padding.add(b"duRa", dice.randbytes(target_bytes - raw))
    file = io.BytesIO()
    image = Image.frombytes("RGB", (side, side), pixels)
    image.save(file, "PNG", compress_level=1, pnginfo=padding)
    return file.getvalue()


def _dice(picture: Picture, purpose: str) -> random.Random:
    recipe = f"{purpose}\0{picture.seed}\0{picture.width}x{picture.height}\0{picture.prompt}"
    return random.Random(hashlib.sha256(recipe.encode()).digest())  # noqa: S311  # not a secret


def _draw(picture: Picture) -> Image.Image:
    """Everything but the grain."""
    dice = _dice(picture, "drawing")
    return landscape(picture.prompt, dice, (picture.width, picture.height))


def _grain(image: Image.Image, dice: random.Random) -> Image.Image:
    specks = Image.frombytes("L", image.size, dice.randbytes(image.width * image.height))
    grain = specks.point([level // _GRAIN_STEP for level in range(256)])
    return ImageChops.add(image, Image.merge("RGB", [grain] * 3))
