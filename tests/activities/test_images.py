"""Bytes become an image only when they are one, whole, of the format and size that were asked."""

import io
import struct
import zlib

import pytest
from PIL import Image

from activities.errors import ProviderError
from activities.images import Wanted, check_image
from contracts.errors import ErrorCode
from deploy.local.sandbox.images import broken_images

SIZE = (128, 96)


def encoded(image_format: str, size: tuple[int, int] = SIZE, mode: str = "RGB") -> bytes:
    """An image as a file's bytes."""
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(file, image_format)
    return file.getvalue()


PNG = encoded("PNG")
JPEG = encoded("JPEG", (1_024, 768))
PROGRESSIVE = io.BytesIO()
Image.effect_noise((1_024, 768), 60).save(PROGRESSIVE, "JPEG", progressive=True)


def chunks_of(png: bytes) -> list[bytes]:
    """The chunks of a PNG, each with its length and checksum; the signature comes first."""
    found, at = [png[:8]], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        found.append(png[at:end])
        at = end
    return found


def claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with nothing to show for it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_whole_image(image_format: str) -> None:
    """A whole image of the right format and size is taken."""
    check_image(encoded(image_format.upper()), Wanted(image_format, SIZE))


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA"])
def test_any_palette(mode: str) -> None:
    """Grey, palettes and transparency are images as well."""
    check_image(encoded("PNG", mode=mode), Wanted("png", SIZE))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a whole image"),
        (broken_images.HTML, "not a whole image"),
        (b'{"error": "boom"}', "not a whole image"),
        (b"\x89PNG\r\n\x1a\n", "not a whole image"),
        (broken_images.half(PNG), "not a whole image"),
        (PNG[:-100], "not a whole image"),
        (broken_images.half(encoded("JPEG")), "not a whole image"),
        (broken_images.half(encoded("WEBP")), "not a whole image"),
        (PNG[:200] + bytes(64) + PNG[264:], "not a whole image"),
        (encoded("GIF"), "not a whole image"),
        (encoded("BMP"), "not a whole image"),
        (broken_images.bomb(), "not a whole image"),
        (claiming(2**31 - 1, 2**31 - 1), "not a whole image"),
        (claiming(0, 0), "not a whole image"),
        (claiming(*SIZE), "not a whole image"),
    ],
)
def test_no_image(data: bytes, says: str) -> None:
    """What is not the image that was asked for is INVALID_OUTPUT, and the operator learns why."""
    with pytest.raises(ProviderError) as caught:
        check_image(data, Wanted("png", SIZE))
    assert caught.value.failure.code is ErrorCode.INVALID_OUTPUT
    assert says in caught.value.failure.detail


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (encoded("JPEG"), "jpeg instead of png: name the format"),
        (encoded("PNG", (96, 128)), "96x128 pixels instead of 128x96"),
        (encoded("PNG", (64, 48)), "64x48 pixels instead of 128x96"),
    ],
)
def test_another_image(data: bytes, says: str) -> None:
    """A whole image that nobody asked for: the next one would be the same, so settings must say."""
    with pytest.raises(ProviderError) as caught:
        check_image(data, Wanted("png", SIZE))
    assert (caught.value.failure.code, caught.value.perhaps_paid) == (ErrorCode.MODEL_CONFIG, True)
    assert says in caught.value.failure.detail


@pytest.mark.parametrize(
    ("found", "asked", "percent", "taken"),
    [
        ((192, 107), (192, 108), 1.0, True),  # huggingface/diffusers#9904, a tenth of it
        ((192, 107), (192, 108), 0.5, False),
        ((98, 31), (99, 32), 4.0, True),
        ((98, 31), (99, 32), 0.0, False),
    ],
)
def test_sizes_that_are_rounded(
    found: tuple[int, int], asked: tuple[int, int], percent: float, taken: bool
) -> None:
    """A tolerance takes what a server rounds, and says which size it has."""
    if taken:
        assert check_image(encoded("PNG", found), Wanted("png", asked, percent)) == found
    else:
        with pytest.raises(ProviderError, match="size_tolerance_percent"):
            check_image(encoded("PNG", found), Wanted("png", asked, percent))


@pytest.mark.parametrize(
    ("found", "ratio", "taken"),
    [
        ((172, 96), (16, 9), True),  # FLUX 1.1 ultra's 2752x1536, a sixteenth of it
        ((96, 172), (16, 9), False),
        ((128, 96), (16, 9), False),
        ((96, 96), (1, 1), True),
        ((96, 90), (1, 1), False),
        ((4_112, 4_112), (1, 1), False),
    ],
)
def test_a_ratio_alone(found: tuple[int, int], ratio: tuple[int, int], taken: bool) -> None:
    """Where the model chooses the pixels, the shape counts, and that it is no bomb."""
    wanted = Wanted("png", (128, 72), ratio=ratio)
    data = encoded("PNG", found, "1")
    if taken:
        assert check_image(data, wanted) == found
    else:
        with pytest.raises(ProviderError, match=f"instead of a ratio of {ratio[0]}:{ratio[1]}"):
            check_image(data, wanted)


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE.getvalue()], ids=["baseline", "progressive"])
def test_the_last_of_a_jpeg(data: bytes) -> None:
    """A JPEG has no checksums: it is read to its end, though an eighth of a side is decoded."""
    wanted = Wanted("jpeg", (1_024, 768))
    assert check_image(data, wanted) == (1_024, 768)
    for end in (len(data) * 9 // 10, len(data) - 1_000):
        with pytest.raises(ProviderError, match="not a whole image"):
            check_image(data[:end], wanted)


def test_each_byte_of_a_png() -> None:
    """Whichever byte of its chunks has changed, to the very end; and a chunk at the end missing."""
    wanted = Wanted("png", (32, 32))
    png = encoded("PNG", (32, 32))
    check_image(png, wanted)
    for at in range(8, len(png)):
        with pytest.raises(ProviderError):
            check_image(png[:at] + bytes([png[at] ^ 1]) + png[at + 1 :], wanted)
    with pytest.raises(ProviderError):
        check_image(b"".join(chunks_of(png)[:-1]), wanted)


def test_bomb_of_the_right_size() -> None:
    """A file that claims the size asked for is decoded, and no more pixels than that."""
    bomb = encoded("PNG", (4_096, 64))
    check_image(bomb, Wanted("png", (4_096, 64)))
