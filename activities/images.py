"""Bytes become an image only here: whole, and of the format and size that were asked for."""

from io import BytesIO
from typing import NamedTuple

from PIL import Image

from activities.errors import ProviderError
from contracts.errors import ErrorCode
from contracts.events import MAX_SIDE_PIXELS
from contracts.tasks import CollectTask, SubmitTask

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
"""What `output_format` may say, and Pillow's name for it."""

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Above what any of the formats takes for 4096 x 4096 pixels of photograph."""

# Pillow raises at twice this figure, while it reads the header and before it allocates.
Image.MAX_IMAGE_PIXELS = MAX_SIDE_PIXELS * MAX_SIDE_PIXELS

LEAST_BOUND_BYTES = 16 * 1024 * 1024
"""In base64 and decoded it takes some 60 MB of memory while it is read."""

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
"""The whole last chunk: length, name, checksum."""

RATIO_TOLERANCE_PERCENT = 3.0
"""By how much a ratio may differ where a model chooses the pixels: it rounds them to multiples of
16 or 32. FLUX 1.1 ultra makes 2752x1536 of 16:9, which is 0.8 % off; 32 pixels of a side of 1,024
are 3 %."""


class Wanted(NamedTuple):
    """The image that was asked for: its format, and its (width, height) in pixels.

    Each side may differ by `tolerance_percent`. With `ratio`, (across, down), the pixels are the
    model's choice, and its shape alone counts.
    """

    image_format: str
    size: tuple[int, int]
    tolerance_percent: float = 0
    ratio: tuple[int, int] | None = None

    def fits(self, found: tuple[int, int]) -> bool:
        """Whether an image of these pixels is one."""
        if self.ratio:
            (width, height), (across, down) = found, self.ratio
            allowed = max(self.tolerance_percent, RATIO_TOLERANCE_PERCENT)
            off = abs(width * down - height * across) * 100
            return max(found) <= MAX_SIDE_PIXELS and off <= height * across * allowed
        return all(
            abs(is_ - wanted) * 100 <= wanted * self.tolerance_percent
            for is_, wanted in zip(found, self.size, strict=True)
        )

    @property
    def most_bytes(self) -> int:
        """What is read at the most of an answer that should be this image.

        The pixels as they are, 4 bytes each, and what stands beside them; never less than
        `LEAST_BOUND_BYTES`, so that an image of another size is still found out to be one.
        """
        if self.ratio:  # the pixels are the model's choice
            return MAX_IMAGE_BYTES
        pixels = self.size[0] * self.size[1] * (1 + self.tolerance_percent / 100) ** 2
        return min(max(int(pixels * 4) + 1024 * 1024, LEAST_BOUND_BYTES), MAX_IMAGE_BYTES)

    def __str__(self) -> str:
        if self.ratio:
            return f"a ratio of {self.ratio[0]}:{self.ratio[1]}"
        return f"{self.size[0]}x{self.size[1]}"


def wanted_by(task: SubmitTask | CollectTask) -> Wanted:
    """The image that a task is about."""
    request, route = task.request, task.route
    ratio = request.ratio if route.size_by == "aspect_ratio" else None
    return Wanted(route.image_format, request.size, route.size_tolerance_percent, ratio)


def check_image(data: bytes, wanted: Wanted) -> tuple[int, int]:
    """Prove that `data` is whole and what was asked for; the (width, height) that it has.

    The size is compared before a pixel is decoded, so that a decompression bomb costs nothing.
    docs/decisions/0037-images-are-proven-whole.md says what is found, and what is not.

    Raises ProviderError: INVALID_OUTPUT when it is no whole image; MODEL_CONFIG when it is one, and
    of another size or format: the same call would bring the same again, and our settings must say
    what this model makes.
    """
    try:
        with Image.open(BytesIO(data), formats=tuple(FORMATS.values())) as image:
            found_format, found_size = (image.format or "").lower(), image.size
            fits = wanted.fits(found_size)
            if fits:
                _prove_whole(image, data)
    except Exception as error:
        # Hostile bytes make decoders raise nearly anything; whatever it is, this is no image. What
        # it is instead is not quoted, nor the decoder, which quotes it: a link may lead anywhere.
        reason = f"{_outline(data)}; {type(error).__name__}"
        raise _invalid(f"not a whole image: {len(data)} bytes, {reason}") from error
    if not fits:
        raise _unfit(
            f"{found_size[0]}x{found_size[1]} pixels instead of {wanted}: if this model rounds"
            " sizes, set size_tolerance_percent on its route; if it knows ratios alone, set"
            ' size_by = "aspect_ratio"; else offer sizes that it makes'
        )
    if found_format != wanted.image_format:
        raise _unfit(
            f"{found_format} instead of {wanted.image_format}: name the format that this model"
            " makes as output_format in the route's parameters"
        )
    return found_size


def _prove_whole(image: Image.Image, data: bytes) -> None:
    """By the cheapest sound means of its format. Raises nearly anything when it is not whole."""
    if image.format == "PNG":
        image.verify()  # the checksum of each chunk, until the last one begins
        if data.rfind(_PNG_END) < 0:
            raise ValueError("no end")
        return
    if image.format == "JPEG":
        # It has no checksums: all of it is read, and an eighth of each side made into pixels.
        image.draft(None, (max(image.width // 8, 1), max(image.height // 8, 1)))
    image.load()


def _outline(data: bytes) -> str:
    """What bytes seem to be, by their beginning."""
    start = bytes(data[:64]).lstrip()
    kinds = {b"\x89PNG": "a PNG", b"\xff\xd8\xff": "a JPEG", b"RIFF": "a RIFF", b"<": "a page"}
    kinds |= {b"{": "JSON", b"[": "JSON"}
    return next((kind for mark, kind in kinds.items() if start.startswith(mark)), "unknown")


def _unfit(detail: str) -> ProviderError:
    said = f"the image service sent {detail}"
    return ProviderError(ErrorCode.MODEL_CONFIG, said, perhaps_paid=True)


def _invalid(detail: str) -> ProviderError:
    return ProviderError(ErrorCode.INVALID_OUTPUT, f"the image service sent {detail}")
