"""Pictures for the sandbox: the same prompt, seed and size always give the same bytes.

A soft colour field with contour bands, a few lights and some film grain. The grain is there on
purpose: without it a PNG would weigh a tenth of what image services really send.
"""

import colorsys
import hashlib
import io
import math
import random
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""What the sandbox can make, and its content type."""

_SCHEMES = ((0.0, 0.08, 0.5), (0.0, 0.33, 0.66), (0.0, 0.05, 0.12), (0.0, 0.55, 0.6))
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
    """Everything but the grain, at half the size: it is soft, so the difference is not seen."""
    dice = _dice(picture, "drawing")
    size = (max(picture.width // 2, 1), max(picture.height // 2, 1))
    hue, scheme = dice.random(), dice.choice(_SCHEMES)
    field = _field(dice, hue, scheme).resize(size, Image.Resampling.BICUBIC)
    bands = _bands(dice, size)
    drawn = ImageChops.soft_light(field, Image.merge("RGB", [bands] * 3))
    tint = _colour(hue + scheme[-1], 0.5, 0.9)
    lights = ImageOps.colorize(_lights(dice, size), "black", tint)
    full = (picture.width, picture.height)
    return ImageChops.screen(drawn, lights).resize(full, Image.Resampling.BILINEAR)


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(255 * red), int(255 * green), int(255 * blue)


def _field(dice: random.Random, hue: float, scheme: tuple[float, ...]) -> Image.Image:
    across = 5
    field = Image.new("RGB", (across, across))
    for at in range(across * across):
        shade = hue + dice.choice(scheme) + dice.uniform(-0.03, 0.03)
        colour = _colour(shade, dice.uniform(0.45, 0.9), dice.uniform(0.25, 1))
        field.putpixel((at % across, at // across), colour)
    return field


def _bands(dice: random.Random, size: tuple[int, int]) -> Image.Image:
    across = dice.randint(4, 7)
    hills = Image.frombytes("L", (across, across), dice.randbytes(across * across))
    waves, phase = dice.uniform(3, 8) * math.tau / 255, dice.uniform(0, math.tau)
    contour = [int(127.5 + 60 * math.sin(waves * height + phase)) for height in range(256)]
    return hills.resize(size, Image.Resampling.BICUBIC).point(contour)


def _lights(dice: random.Random, size: tuple[int, int]) -> Image.Image:
    small = (max(size[0] // 2, 1), max(size[1] // 2, 1))
    lights = Image.new("L", small)
    pen = ImageDraw.Draw(lights)
    for _ in range(dice.randint(2, 5)):
        x, y = dice.uniform(0.1, 0.9) * small[0], dice.uniform(0.1, 0.9) * small[1]
        radius = dice.uniform(0.05, 0.25) * min(small)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=dice.randint(90, 200))
    blurred = lights.filter(ImageFilter.GaussianBlur(3))
    return blurred.resize(size, Image.Resampling.BICUBIC)


def _grain(image: Image.Image, dice: random.Random) -> Image.Image:
    specks = Image.frombytes("L", image.size, dice.randbytes(image.width * image.height))
    grain = specks.point([level // _GRAIN_STEP for level in range(256)])
    return ImageChops.add(image, Image.merge("RGB", [grain] * 3))
