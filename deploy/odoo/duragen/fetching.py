"""Fetching an image by its link, and checking that it is the one that was announced."""

import hashlib

import requests

CONNECT_SECONDS, READ_SECONDS = 5, 20
CHUNK_BYTES = 256 * 1024


class FetchError(Exception):
    """The image could not be had now; Duragen delivers again later, with a fresh link."""


class MismatchError(Exception):
    """What came is not the image of the event."""


def fetch(image):
    """The bytes of a wire.Image with a link. Raises FetchError, MismatchError.

    At most one byte more than announced is read, no redirect is followed, and what does not have
    the announced hash is not kept, so that the link can bring nothing else into Odoo.
    """
    try:
        with requests.get(
            image.url, stream=True, allow_redirects=False, timeout=(CONNECT_SECONDS, READ_SECONDS)
        ) as answer:
            if answer.status_code != 200:
                raise FetchError(f"the image's link answered {answer.status_code}")
            data = b""
            for chunk in answer.iter_content(CHUNK_BYTES):
                data += chunk
                if len(data) > image.size:
                    break
    except (requests.RequestException, OSError) as error:
        # Its text quotes the link, which gives access to the image.
        raise FetchError(f"the image's link failed: {type(error).__name__}") from error
    if len(data) < image.size:
        raise FetchError(f"the image's link gave {len(data)} of {image.size} bytes")
    return verified(image, data)


def verified(image, data):
    """`data` when it is the image that was announced. Raises MismatchError."""
    if len(data) != image.size:
        raise MismatchError(f"the image does not have the announced {image.size} bytes")
    found = hashlib.sha256(data).hexdigest()
    if found != image.sha256:
        raise MismatchError(f"the image has the SHA-256 {found}, announced was {image.sha256}")
    return data
