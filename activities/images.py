"""Bytes become an image only here: decoded, and of the format and size that were asked for."""

from io import BytesIO

from PIL import Image

from activities.errors import ProviderError
from contracts.errors import ErrorCode
from contracts.events import MAX_SIDE_PIXELS

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
"""What `output_format` may say, and Pillow's name for it."""

CONTENT_TYPES = {name: f"image/{name}" for name in FORMATS}

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Above what any of the formats takes for 4096 x 4096 pixels of photograph."""

# Pillow raises at twice this figure, while it reads the header and before it allocates.
Image.MAX_IMAGE_PIXELS = MAX_SIDE_PIXELS * MAX_SIDE_PIXELS


def check_image(
    data: bytes, image_format: str, size: tuple[int, int], tolerance_percent: float = 0
) -> tuple[int, int]:
    """Decode `data` wholly and compare it with what was asked; the (width, height) that it has.

    `size` is (width, height) in pixels, and each side may differ by `tolerance_percent`; it is
    compared before a pixel is decoded, so that a decompression bomb costs nothing.

    Raises ProviderError: INVALID_OUTPUT when it is no whole image; MODEL_CONFIG when it is one, and
    of another size or format: the same call would bring the same again, and our settings must say
    what this model makes.
    """
    try:
        with Image.open(BytesIO(data), formats=tuple(FORMATS.values())) as image:
            found_format, found_size = (image.format or "").lower(), image.size
            fits = _fits(found_size, size, tolerance_percent)
            if fits:
                image.load()
    except Exception as error:
        # Hostile bytes make decoders raise nearly anything; whatever it is, this is no image.
        reason = f"{type(error).__name__}: {error}"
        start = bytes(data[:24])
        raise _invalid(f"not a whole image ({len(data)} bytes, {start!r}…): {reason}") from error
    if not fits:
        raise _unfit(
            f"{found_size[0]}x{found_size[1]} pixels instead of {size[0]}x{size[1]}: if this model"
            " rounds sizes, set size_tolerance_percent on its route; else offer sizes that it makes"
        )
    if found_format != image_format:
        raise _unfit(
            f"{found_format} instead of {image_format}: name the format that this model makes"
            " as output_format in the route's parameters"
        )
    return found_size


def _fits(found: tuple[int, int], asked: tuple[int, int], tolerance_percent: float) -> bool:
    return all(
        abs(is_ - wanted) * 100 <= wanted * tolerance_percent
        for is_, wanted in zip(found, asked, strict=True)
    )


def _unfit(detail: str) -> ProviderError:
    said = f"the image service sent {detail}"
    return ProviderError(ErrorCode.MODEL_CONFIG, said, perhaps_paid=True)


def _invalid(detail: str) -> ProviderError:
    return ProviderError(ErrorCode.INVALID_OUTPUT, f"the image service sent {detail}")
