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


def check_image(data: bytes, image_format: str, size: tuple[int, int]) -> None:
    """Decode `data` wholly and compare it with what was asked.

    `size` is (width, height) in pixels; it is compared before a pixel is decoded, so that a
    decompression bomb costs nothing. Raises ProviderError with INVALID_OUTPUT.
    """
    try:
        with Image.open(BytesIO(data), formats=tuple(FORMATS.values())) as image:
            found_format, found_size = (image.format or "").lower(), image.size
            if found_size == size:
                image.load()
    except Exception as error:
        # Hostile bytes make decoders raise nearly anything; whatever it is, this is no image.
        reason = f"{type(error).__name__}: {error}"
        start = bytes(data[:24])
        raise _invalid(f"not a whole image ({len(data)} bytes, {start!r}…): {reason}") from error
    if found_size != size:
        raise _invalid(f"{found_size[0]}x{found_size[1]} pixels instead of {size[0]}x{size[1]}")
    if found_format != image_format:
        raise _invalid(
            f"{found_format} instead of {image_format}: name the format that this model makes"
            " as output_format in the route's parameters"
        )


def _invalid(detail: str) -> ProviderError:
    return ProviderError(ErrorCode.INVALID_OUTPUT, f"the image service sent {detail}")
