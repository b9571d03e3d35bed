"""A landscape for a prompt: sky, sun or moon, ridges in the haze, sometimes a lake, pines in front.

All of it is drawn from dice, so the same dice give the same picture. Words of the prompt choose the
light: "night" gives stars, "snow" pale hills.
"""

import random
import re
from itertools import pairwise
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]


class Light(NamedTuple):
    """The colours of an hour: sky from the top to the horizon, what shines, the hills nearby."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    shine: Colour
    near: Colour
    stars: bool = False


LIGHTS = {
    "dawn": Light((70, 88, 150), (222, 150, 150), (255, 214, 165), (255, 240, 205), (38, 40, 66)),
    "dusk": Light((44, 36, 88), (178, 72, 98), (250, 160, 92), (255, 222, 160), (30, 18, 46)),
    "night": Light((8, 12, 38), (22, 40, 86), (74, 104, 140), (236, 240, 250), (6, 10, 24), True),
    "snow": Light(
        (120, 152, 190), (186, 206, 226), (244, 240, 240), (255, 250, 240), (72, 92, 120)
    ),
    "desert": Light(
        (72, 128, 170), (206, 190, 160), (250, 214, 150), (255, 246, 214), (104, 46, 34)
    ),
    "forest": Light(
        (92, 140, 140), (176, 200, 170), (240, 236, 200), (255, 250, 220), (16, 44, 34)
    ),
    "day": Light((58, 124, 190), (140, 190, 225), (232, 240, 238), (255, 252, 235), (24, 66, 62)),
}
"""By the word that asks for it, the first of these; without one the dice choose."""

_ALSO = {
    "sunrise": "dawn", "morning": "dawn", "sunset": "dusk", "evening": "dusk", "moon": "night",
    "stars": "night", "winter": "snow", "ice": "snow", "dune": "desert", "sand": "desert",
    "tree": "forest", "trees": "forest", "meadow": "day", "summer": "day",
}  # fmt: skip
_RIDGES = 5
_LAKE = re.compile(r"\b(lake|sea|river|water|ocean|coast|harbour|lighthouse)\b", re.IGNORECASE)


def landscape(prompt: str, dice: random.Random, size: tuple[int, int]) -> Image.Image:
    """The picture, in RGB; `size` is its width and height in pixels."""
    width, height = size
    light = _light_of(prompt, dice)
    lake = bool(_LAKE.search(prompt)) or dice.random() < 0.35
    shore = round(height * (dice.uniform(0.62, 0.72) if lake else 1))
    horizon = shore * dice.uniform(0.55, 0.7)
    place = (width * dice.uniform(0.2, 0.8), horizon * dice.uniform(0.35, 0.8))
    picture = _sky(light, dice, (width, max(shore, 1)), place)
    for number in range(_RIDGES):
        nearness = number / (_RIDGES - 1)
        line = horizon + (shore - horizon) * nearness * 0.75
        reach = shore * (0.16 - 0.07 * nearness)
        ridge = _ridge(dice, width, line, reach, nearness)
        colour = _between(light.horizon, light.near, 0.18 + 0.82 * nearness**0.8)
        _fill(picture, ridge, colour)
        if number >= _RIDGES - 2 and light is not LIGHTS["desert"]:
            _pines(picture, dice, ridge, colour, shore * (0.035 + 0.05 * (number == _RIDGES - 1)))
    return _with_lake(picture, light, dice, size) if lake else picture


def _light_of(prompt: str, dice: random.Random) -> Light:
    chosen = dice.choice(sorted(LIGHTS))
    words = re.findall(r"[a-z]+", prompt.lower())
    meant = {_ALSO.get(word, word) for word in words}
    return LIGHTS[next((name for name in LIGHTS if name in meant), chosen)]


def _sky(
    light: Light, dice: random.Random, size: tuple[int, int], place: tuple[float, float]
) -> Image.Image:
    stops = Image.new("RGB", (1, 3))
    for at, colour in enumerate((light.zenith, light.middle, light.horizon)):
        stops.putpixel((0, at), colour)
    sky = stops.resize(size, Image.Resampling.BICUBIC)
    if light.stars:
        pen = ImageDraw.Draw(sky)
        for _ in range(size[0] * size[1] // 1_500):
            spot = (dice.uniform(0, size[0]), dice.uniform(0, size[1] * 0.7))
            pen.point(spot, fill=_between(light.zenith, light.shine, dice.uniform(0.3, 1)))
    across = max(size[0] // 48, 2), max(size[1] // 12, 2)
    clouds = Image.frombytes("L", across, dice.randbytes(across[0] * across[1]))
    clouds = clouds.filter(ImageFilter.BoxBlur(1)).resize(size, Image.Resampling.BICUBIC)
    veil = clouds.point([max(0, level - 128) for level in range(256)])
    sky.paste(Image.new("RGB", size, light.shine), mask=veil)
    return _shining(sky, light, place)


def _shining(sky: Image.Image, light: Light, place: tuple[float, float]) -> Image.Image:
    x, y = place
    radius = min(sky.size) * (0.045 if light.stars else 0.06)
    small = (max(sky.width // 8, 1), max(sky.height // 8, 1))
    glow = Image.new("L", small)
    reach = radius * 2.4 / 8
    spot = (x / 8 - reach, y / 8 - reach, x / 8 + reach, y / 8 + reach)
    ImageDraw.Draw(glow).ellipse(spot, fill=150)
    glow = glow.filter(ImageFilter.GaussianBlur(max(reach * 0.8, 1)))
    halo = ImageOps.colorize(glow.resize(sky.size, Image.Resampling.BICUBIC), "black", light.shine)
    shining = ImageChops.screen(sky, halo)
    ImageDraw.Draw(shining).ellipse((x - radius, y - radius, x + radius, y + radius), light.shine)
    return shining


def _ridge(
    dice: random.Random, width: int, line: float, reach: float, nearness: float
) -> list[tuple[float, float]]:
    """A skyline from the left to the right: midpoints moved up and down, less each time."""
    heights = [dice.uniform(-1, 1) for _ in range(3 + round(3 * nearness))]
    rough = 0.75
    while len(heights) < 130:
        finer = [heights[0]]
        for before, after in pairwise(heights):
            finer += [(before + after) / 2 + dice.uniform(-rough, rough) * 0.5, after]
        heights, rough = finer, rough * 0.5
    step = width / (len(heights) - 1)
    return [(at * step, line - reach * up) for at, up in enumerate(heights)]


def _fill(picture: Image.Image, ridge: list[tuple[float, float]], colour: Colour) -> None:
    floor = [(picture.width, picture.height), (0, picture.height)]
    ImageDraw.Draw(picture).polygon([*ridge, *floor], fill=colour)


def _pines(
    picture: Image.Image,
    dice: random.Random,
    ridge: list[tuple[float, float]],
    colour: Colour,
    tall: float,
) -> None:
    pen = ImageDraw.Draw(picture)
    dark = _between(colour, (0, 0, 0), 0.25)
    for left, y in ridge:
        if dice.random() < 0.45:
            x = left + dice.uniform(-0.5, 0.5) * tall
            up = tall * dice.uniform(0.5, 1.2)
            for part in range(3):
                top, wide = y - up * (1 - part * 0.25), up * (0.12 + part * 0.06)
                foot = top + up * 0.45
                pen.polygon([(x, top), (x - wide, foot), (x + wide, foot)], fill=dark)
            pen.rectangle((x - up * 0.02, y - up * 0.1, x + up * 0.02, y + up * 0.1), fill=dark)


def _with_lake(
    land: Image.Image, light: Light, dice: random.Random, size: tuple[int, int]
) -> Image.Image:
    width, height = size
    depth = height - land.height
    whole = Image.new("RGB", size, light.near)
    whole.paste(land)
    if depth < 2:
        return whole
    mirrored = ImageOps.flip(land).resize((width, max(land.height, depth)))
    mirrored = mirrored.crop((0, 0, width, depth)).filter(ImageFilter.BoxBlur((2, 1)))
    water = Image.blend(mirrored, Image.new("RGB", mirrored.size, light.middle), 0.3)
    pen = ImageDraw.Draw(water)
    for _ in range(depth // 2):
        y = depth * dice.random() ** 1.4
        long = width * dice.uniform(0.02, 0.16) * (0.4 + y / depth)
        x = dice.uniform(-0.1, 1) * width
        shade = water.getpixel((min(max(int(x), 0), width - 1), min(int(y), depth - 1)))
        pen.line((x, y, x + long, y), fill=_between(shade, light.horizon, 0.25))  # type: ignore[arg-type]
    whole.paste(water, (0, land.height))
    return whole


def _between(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
