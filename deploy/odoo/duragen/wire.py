"""EVT-AIG-002 and EVT-AIG-003 as they come in: checked before anything is believed.

This module imports nothing of Odoo. Unknown fields are ignored; an unsupported major
`payloadVersion` is refused. spec: event-driven-architecture, EVT-AIG-002, EVT-AIG-003.
"""

import base64
import binascii
import re
from typing import NamedTuple
from urllib.parse import urlsplit

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
# RFC 3986, 2, as Duragen reads URLs: whatever else is in one is read in different ways.
URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE | re.ASCII)
_FORMAT = re.compile(r"[a-z0-9.+-]{1,20}", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[A-Za-z]{1,40}", re.ASCII)
_MAJOR = re.compile(r"1(\.\d{1,5}){0,2}", re.ASCII)
MAX_SIDE_PIXELS = 100_000
MAX_IMAGE_BYTES = 100_000_000
MAX_TEXT = 10_000

# The platform's policy says whether these are charged. CANCELED may be, by what the event says;
# every other failure is not.
POLICY_CODES = frozenset({"INVALID_INPUT", "POLICY_INPUT", "POLICY_OUTPUT"})
POLICY_TYPES = frozenset({"user"})


class WireError(ValueError):
    """The event is malformed; `faults` holds one line per fault."""

    def __init__(self, faults):
        super().__init__("; ".join(faults))
        self.faults = faults


class Image(NamedTuple):
    """An image as the event describes it; exactly one of `data`, `url`, `key` is set."""

    format: str
    size: int
    width: int
    height: int
    sha256: str
    data: "bytes | None" = None
    url: "str | None" = None
    key: "str | None" = None
    ignored: "tuple[str, ...]" = ()


class Failure(NamedTuple):
    """Why there is no image. `message` is for operators, `user_message` for people."""

    code: "str | None"
    message: str
    type: "str | None" = None
    user_message: "str | None" = None
    retry_suggestion: "bool | None" = None
    by_policy: bool = False
    may_have_been_paid: bool = False


class Outcome(NamedTuple):
    """How a generation ended: an image or a failure."""

    request_id: str
    correlation_id: str
    image: "Image | None" = None
    failure: "Failure | None" = None

    @property
    def state(self):
        """`completed`, `failed` or `canceled`."""
        if self.image:
            return "completed"
        return "canceled" if self.failure.code == "CANCELED" else "failed"


def test_of(event):
    """The id of a connection test, when the event is one of those; None otherwise."""
    given = event if isinstance(event, dict) else {}
    test_id = given.get("requestId")
    if given.get("status") != "test" or not isinstance(test_id, str) or not UUID.fullmatch(test_id):
        return None
    return test_id.lower()


def parse_outcome(event):
    """An Outcome of the event's JSON object. Raises WireError, naming every fault at once."""
    if not isinstance(event, dict):
        raise WireError(["the event must be a JSON object"])
    reader = _Reader(event)
    version = reader.text("payloadVersion", required=False)
    if version is not None and not _MAJOR.fullmatch(version):
        reader.faults.append(f"payloadVersion: {version[:20]!r} is not supported; send version 1")
    ids = reader.uuid("requestId"), reader.uuid("correlationId")
    status = event.get("status")
    image = failure = None
    if status == "completed":
        image = _image(reader)
    elif status == "failed":
        failure = _failure(reader)
    else:
        reader.faults.append("status: must be completed or failed")
    if reader.faults:
        raise WireError(reader.faults)
    return Outcome(*ids, image, failure)


def _image(reader):
    metadata = reader.event.get("imageMetadata")
    if not isinstance(metadata, dict):
        reader.faults.append("imageMetadata: must be an object")
        metadata = {}
    inner = _Reader(metadata, "imageMetadata.")
    image_format = inner.text("format") or ""
    if image_format and not _FORMAT.fullmatch(image_format):
        inner.faults.append("imageMetadata.format: must be a short name such as png")
    size = inner.whole("size", MAX_IMAGE_BYTES)
    sides = [inner.whole(side, MAX_SIDE_PIXELS) for side in ("width", "height")]
    reader.faults += inner.faults
    sha256 = reader.text("hashValue") or ""
    if sha256 and not _SHA256.fullmatch(sha256):
        reader.faults.append("hashValue: must be a SHA-256 in hexadecimal")
    url = reader.text("imageUrl", required=False)
    data = reader.text("imageData", required=False, longest=None)
    if (url is None) == (data is None):
        reader.faults.append("imageData, imageUrl: just one of them must be present")
    if url is not None and not _is_http(url):
        reader.faults.append("imageUrl: must be an absolute http or https URL")
    raw = None
    if data is not None:
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            reader.faults.append("imageData: must be base64")
    ignored = reader.names("ignoredFields")
    return Image(image_format.lower(), size, *sides, sha256.lower(), raw, url, ignored=ignored)


def _failure(reader):
    code = reader.text("errorCode", required=False)
    kind = reader.text("errorType", required=False)
    flags = {name: reader.flag(name) for name in ("isSystemError", "isUserError")}
    theirs = code in POLICY_CODES or kind in POLICY_TYPES or flags["isUserError"]
    return Failure(
        code=code,
        message=reader.text("errorMessage", empty=True) or "",
        type=kind,
        user_message=reader.text("userMessage", required=False),
        retry_suggestion=reader.flag("retrySuggestion", absent=None),
        by_policy=bool(theirs) and not flags["isSystemError"],
        may_have_been_paid=bool(reader.flag("mayHaveBeenPaid")),
    )


def _is_http(text):
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname)
    except ValueError:
        return False


class _Reader:
    """Reads the fields of one JSON object, and collects in `faults` what is wrong with them."""

    def __init__(self, event, prefix=""):
        self.event = event
        self.faults = []
        self._prefix = prefix

    def _fault(self, name, text):
        self.faults.append(f"{self._prefix}{name}: {text}")

    def text(self, name, *, required=True, empty=False, longest=MAX_TEXT):
        value = self.event.get(name)
        if value is None:
            if required:
                self._fault(name, "is required")
            return None
        if not isinstance(value, str) or (required and not empty and not value):
            self._fault(name, "must be a text")
            return None
        # PostgreSQL's texts hold no NUL, and lone surrogates are not Unicode.
        clean = value.replace("\0", "").encode("utf-8", "replace").decode()
        return clean if longest is None else clean[:longest]

    def uuid(self, name):
        value = self.text(name)
        if value is not None and not UUID.fullmatch(value):
            self._fault(name, "must be a UUID")
        return (value or "").lower()

    def whole(self, name, largest):
        value = self.event.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            self._fault(name, f"must be a whole number from 1 to {largest}")
            return 0
        return value

    def names(self, name):
        """A list of short names; what else stands there is left out, for it is only shown."""
        value = self.event.get(name)
        listed = value if isinstance(value, list) else []
        return tuple(each for each in listed if isinstance(each, str) and _NAME.fullmatch(each))

    def flag(self, name, absent=False):
        value = self.event.get(name, absent)
        if value is not None and not isinstance(value, bool):
            self._fault(name, "must be true or false")
        return absent if value is None else value is True
