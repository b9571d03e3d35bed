"""The sandbox's pictures."""

import io

import pytest
from PIL import Image, ImageStat

from deploy.local.sandbox.images.broken_images import BOMB_SIDE, bomb, half
from deploy.local.sandbox.images.painter import FORMATS, Picture, noise, paint

FOX = Picture("a fox in the snow", 7, 96, 64)


def _decode(image: bytes) -> Image.Image:
    decoded = Image.open(io.BytesIO(image))
    decoded.load()
    return decoded


@pytest.mark.parametrize("image_format", FORMATS)
def test_is_an_image_of_the_size_asked(image_format: str) -> None:
    """Every format decodes and has the size that was asked for."""
    decoded = _decode(paint(FOX, image_format))
    assert (decoded.format, decoded.size) == (image_format.upper(), (96, 64))


def test_same_recipe_same_bytes() -> None:
    """Equal prompt, seed and size make equal files."""
    assert paint(FOX) == paint(FOX)


@pytest.mark.parametrize(
    "other", [FOX._replace(seed=8), FOX._replace(prompt="a fox"), FOX._replace(width=97)]
)
def test_another_recipe_another_picture(other: Picture) -> None:
    """Prompt, seed and size each change the picture."""
    assert paint(other) != paint(FOX)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 512), (1_000, 9)])
@pytest.mark.parametrize("prompt", ["a lake", "a meadow", "stars", ""])
def test_odd_sizes(prompt: str, size: tuple[int, int]) -> None:
    """The smallest and the narrowest pictures are drawn too, with water and without."""
    for seed in range(3):
        picture = Picture(prompt, seed, *size)
        assert _decode(paint(picture)).size == size


def test_a_winter_night_is_a_night() -> None:
    """The hour that the prompt names counts before what lies on the hills."""
    means = [
        ImageStat.Stat(_decode(paint(FOX._replace(prompt=prompt))).convert("L")).mean[0]
        for prompt in ("winter night", "winter")
    ]
    assert means[0] < 0.5 * means[1]


def test_weighs_what_real_ones_weigh() -> None:
    """A 1024x1024 PNG is one to two megabytes."""
    assert 1_000_000 < len(paint(FOX._replace(width=1_024, height=1_024))) < 2_000_000


@pytest.mark.parametrize("size", [500_000, 1_000_000, 4_000_000])
def test_noise_has_the_size_asked(size: int) -> None:
    """The benchmark's image decodes, and weighs what was asked within 3 %."""
    image = noise(size)
    assert _decode(image).size == (1_024, 1_024)
    assert len(image) == pytest.approx(size, rel=0.03)


def test_bomb_is_small_and_huge() -> None:
    """The bomb is a few kilobytes that Pillow itself refuses to open."""
    assert len(bomb()) < 60_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bomb()))
    assert BOMB_SIDE == 20_000


def test_half_an_image_does_not_decode() -> None:
    """Its header is fine, its pixels are not."""
    opened = Image.open(io.BytesIO(half(paint(FOX))))
    assert opened.size == (96, 64)
    with pytest.raises(OSError, match="truncated"):
        opened.load()
