"""What a resolution looks like to people: its shape, its pixels, its ratio."""

import math
import re

WIDE = 1.7
"""From this ratio of width to height on, a landscape is called wide: 16:9 is, 3:2 is not."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)


def size_choice(env, text):
    """A resolution for a tile: {"value", "name", "pixels", "ratio"}, in words of `env`."""
    width, height = sides(text)
    return {
        "value": text,
        "name": shape(env, width, height),
        "pixels": pixels(width, height),
        "ratio": ratio(text),
    }


def size_label(env, text):
    """The shape and the pixels: Square, 1024 by 1024."""
    width, height = sides(text)
    return f"{shape(env, width, height)}, {pixels(width, height)}"


def ratio(text):
    """Width by height, for CSS."""
    width, height = sides(text)
    return round(width / height, 4)


def sides(text):
    """Width and height; one by one for what is no resolution."""
    match = _SIZE.fullmatch(text or "")
    return tuple(max(int(side), 1) for side in match.groups()) if match else (1, 1)


def pixels(width, height):
    """Width by height, kept on one line."""
    return f"{width}\u00a0\u00d7\u00a0{height}"


def shape(env, width, height):
    """Square, landscape, wide, portrait or tall."""
    wide = width / height
    if math.isclose(wide, 1, rel_tol=0.02):
        return env._("Square")
    if wide > 1:
        return env._("Wide") if wide >= WIDE else env._("Landscape")
    return env._("Tall") if wide <= 1 / WIDE else env._("Portrait")
