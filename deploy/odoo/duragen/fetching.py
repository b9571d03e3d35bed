"""Fetching an image by its link, and checking that it is the one that was announced.

A link comes from outside. It is followed to the store's own addresses alone (OWASP A10:2021, SSRF).
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request

READ_SECONDS, TOTAL_SECONDS = 20, 45
"""For the next bytes, and for all of them: Duragen waits a minute for our answer."""

CHUNK_BYTES = 256 * 1024


class FetchError(Exception):
    """The image could not be fetched now; Duragen delivers again later, with a fresh link."""


class NoAnswerError(FetchError):
    """The server did not answer, or not in time."""


class GoneError(FetchError):
    """The gateway knows no such image."""


class ForeignError(Exception):
    """The link does not lead to the store; the text says what to set."""


class MismatchError(Exception):
    """The bytes are not the image of the event."""


def opener():
    """Opens http and https alone, and follows no redirect.

    Built by hand: the usual opener follows redirects and knows ftp:, file: and data:.
    """
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        made.add_handler(handler())
    return made


def fetch(image, origins, read_seconds=READ_SECONDS, total_seconds=TOTAL_SECONDS):
    """The bytes of a wire.Image with a link. Raises ForeignError, FetchError, MismatchError.

    Only a server of `origins` is called. It reads at most a little more than announced, follows no
    redirect, unpacks nothing, and keeps only bytes with the announced hash: so the link can bring
    nothing else into Odoo. It does not
    use `requests`, which waits for ever for a server that sends a few bytes at a time, and lets
    errors of the library below it through.
    """
    url = _in_the_store(image.url, origins)
    try:
        with opener().open(url, timeout=read_seconds) as answer:
            if answer.status != 200:
                raise FetchError(f"the image's link answered {answer.status}")
            data = _read(answer, image.size, total_seconds)
    except urllib.error.HTTPError as error:
        with error:
            raise FetchError(f"the image's link answered {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(_no_answer(image.url, error)) from error
    if len(data) < image.size:
        raise FetchError(f"the image's link gave {len(data)} of {image.size} bytes")
    return verified(image, data)


def link_of(request_id, gateway_url, key, read_seconds=READ_SECONDS):
    """A fresh link to a generation's image, from the gateway. Raises GoneError, FetchError.

    An outcome from a broker has an address of the gateway in place of a link, as others reach it.
    It is not followed: Odoo knows its own way to the gateway, and our key goes with the call.
    """
    url = f"{gateway_url.rstrip('/')}/v1/generations/{request_id}/image"
    try:
        # `opener` opens http: and https: alone.
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})  # noqa: S310
        with opener().open(asked, timeout=read_seconds) as answer:
            status, link = answer.status, None
    except urllib.error.HTTPError as error:
        with error:
            status, link = error.code, error.headers.get("Location")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(f"the gateway did not answer: {type(error).__name__}") from error
    if status == 307 and link:
        return link
    said = f"the gateway answered {status} for the image of {request_id}"
    raise GoneError(said) if status == 404 else FetchError(said)


def origin_of(url):
    """`scheme://host[:port]`, lower case and without a default port; None for no http(s) address.

    A login in it is refused: what stands before an `@` is easily taken for the host.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return None
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")


def _in_the_store(url, origins):
    """The link, with the origin as the settings have it. Raises ForeignError."""
    origin = origin_of(url)
    if origin is None or origin not in origins:
        known = ", ".join(sorted(origins)) or "none is set"
        raise ForeignError(
            f"imageUrl: leads to {_place(url)}, which is not the image store ({known}). If it is,"
            f" set the image store's address in Odoo's settings of Duragen to {origin or 'its own'}"
        )
    # Put together again, so that no other reading of the text can lead elsewhere.
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((*origin.split("://"), parts.path, parts.query, ""))


def _no_answer(url, error):
    """What failed, where, and what to set. The link's path and query give access to the image."""
    reason = getattr(error, "reason", None)
    cause = type(reason if isinstance(reason, Exception) else error).__name__
    return (
        f"the image's link failed: {cause} at {_place(url)}. Odoo must reach the store:"
        " set storage.public_endpoint_url in Duragen's settings,"
        ' or images = "data" in its [[odoo]] table, so that the bytes come in the event'
    )


def _place(url):
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        return "an address that is not valid"
    # It may stand in a log or in a terminal.
    host = "".join(each if each.isprintable() else "?" for each in parts.hostname or "no host")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read(answer, size, seconds):
    data, deadline = bytearray(), time.monotonic() + seconds
    # read1, unlike read, returns what is there, so that the time is checked after each chunk.
    while len(data) <= size and (chunk := answer.read1(CHUNK_BYTES)):
        data += chunk
        if time.monotonic() > deadline:
            raise NoAnswerError(f"the image's link took over {seconds} s")
    return bytes(data)


def verified(image, data):
    """Return `data` when it is the announced image. Raises MismatchError."""
    if len(data) != image.size:
        raise MismatchError(f"the image does not have the announced {image.size} bytes")
    found = hashlib.sha256(data).hexdigest()
    if found != image.sha256:
        raise MismatchError(f"the image has the SHA-256 {found}, announced was {image.sha256}")
    return data
