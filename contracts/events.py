"""The three events on the wire, field for field as the specification has them.

camelCase in JSON, snake_case here. Unknown fields are ignored (additive evolution); an unsupported
major `payloadVersion` is refused. spec: event-driven-architecture, EVT-AIG-001 to 003.
"""

import base64
import binascii
import hashlib
import math
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

SUPPORTED_MAJOR_VERSION = "1"
MAX_PROMPT_CHARACTERS = 32_000
MIN_SIDE_PIXELS, MAX_SIDE_PIXELS = 64, 4_096
ASPECT_RATIO_TOLERANCE_PERCENT = 4
"""From here on `aspectRatio` and `resolution` disagree.

Models know their sizes under the names of near ratios: of those that SDXL was trained on (arXiv
2307.01952, appendix I), 896x1152 as 3:4 is the farthest, 3.7 % off. Ratios in common use are kept
apart: 16:10 and 5:3 are 4 % from each other, as are 6:5 and 5:4, and no two of them are nearer.
"""
MAX_URL_CHARACTERS = 2_048

_SIDES = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_RATIO = re.compile(r"(\d{1,5}):(\d{1,5})", re.ASCII)
# spec: RFC 3339, 5.6, with capital letters and no leap seconds
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_VERSION = re.compile(r"(\d{1,5})(\.\d{1,5}){0,2}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
# spec: RFC 3986, 2; whatever else is in a text, HTTP clients read in different ways.
_URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")


class WireModel(BaseModel):
    """What crosses a boundary: camelCase aliases, immutable, unknown fields ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
    )


def parse_resolution(text: str) -> tuple[int, int]:
    """`"1024x768"` to (width, height) in pixels. Raises ValueError, naming the broken rule."""
    match = _SIDES.fullmatch(text)
    if not match:
        raise ValueError("must be WIDTHxHEIGHT in pixels, such as 1024x1024")
    width, height = int(match[1]), int(match[2])
    if not all(MIN_SIDE_PIXELS <= side <= MAX_SIDE_PIXELS for side in (width, height)):
        raise ValueError(f"each side must be {MIN_SIDE_PIXELS} to {MAX_SIDE_PIXELS} pixels")
    return width, height


def _resolution(text: str) -> str:
    parse_resolution(text)
    return text


def _aspect_ratio(text: str) -> str:
    match = _RATIO.fullmatch(text)
    if not match or int(match[1]) == 0 or int(match[2]) == 0:
        raise ValueError("must be WIDTH:HEIGHT in whole numbers above 0, such as 16:9")
    return text


def _payload_version(text: str) -> str:
    match = _VERSION.fullmatch(text)
    if not match:
        raise ValueError("must be a version such as 1 or 1.0")
    if match[1] != SUPPORTED_MAJOR_VERSION:
        raise ValueError(
            f"major version {match[1]} is not supported; send version {SUPPORTED_MAJOR_VERSION}"
        )
    return text


def _moment(text: str) -> str:
    if not _MOMENT.fullmatch(text):
        raise ValueError("must be a moment with its offset, such as 2026-11-27T08:00:00Z")
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day and a time that exist") from None
    return text


def _http_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or not _URI.fullmatch(text):
        raise ValueError("must be an absolute http or https URL, percent-encoded where needed")
    if url.username is not None or url.password is not None:
        raise ValueError("must not carry a user name or a password")
    if url.port == 0:
        raise ValueError("port 0 cannot be called")
    return text


def _uuid_text(value: Any) -> Any:
    # Pydantic also takes urn:uuid:…, braces and bare digits, which the wire's format does not have.
    if isinstance(value, str) and not _UUID.fullmatch(value):
        raise ValueError("must be a UUID such as 123e4567-e89b-42d3-a456-426614174000")
    return value


def _number(value: Any) -> Any:
    # Pydantic would take true for 1 and "5" for 5.
    if isinstance(value, str):
        raise ValueError("must be a number without quotes")  # noqa: TRY004  # as below
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004  # pydantic turns ValueErrors alone
    return value


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be base64") from None
    return text


def origin_of(url: str) -> str:
    """`scheme://host[:port]`, lower case and without a default port: what allow lists compare."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


Uuid = Annotated[UUID, BeforeValidator(_uuid_text)]
NumberAlone = BeforeValidator(_number)
Flag = Annotated[bool, Strict()]
AbsoluteUrl = Annotated[str, Field(json_schema_extra={"format": "uri"}), AfterValidator(_http_url)]
Base64 = Annotated[str, Field(json_schema_extra={"format": "byte"}), AfterValidator(_base64)]
HttpUrl = Annotated[AbsoluteUrl, Field(max_length=MAX_URL_CHARACTERS)]
Resolution = Annotated[
    str,
    Field(max_length=11, json_schema_extra={"pattern": r"^[0-9]{1,5}x[0-9]{1,5}$"}),
    AfterValidator(_resolution),
]
AspectRatio = Annotated[
    str,
    Field(max_length=11, json_schema_extra={"pattern": r"^[0-9]{1,5}:[0-9]{1,5}$"}),
    AfterValidator(_aspect_ratio),
]
PayloadVersion = Annotated[
    str,
    Field(
        max_length=17,
        json_schema_extra={
            "pattern": rf"^{SUPPORTED_MAJOR_VERSION}(\.[0-9]{{1,5}}){{0,2}}$",
        },
    ),
    AfterValidator(_payload_version),
]
Moment = Annotated[
    str,
    Field(max_length=32, json_schema_extra={"format": "date-time"}),
    AfterValidator(_moment),
]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]


class RequestField(StrEnum):
    """The optional fields of EVT-AIG-001 that shape an image. Every provider carries the others."""

    NEGATIVE_PROMPT = "negativePrompt"
    SEED = "seed"
    INFERENCE_STEPS = "inferenceSteps"
    CFG_SCALE = "cfgScale"


class RequestHead(WireModel):
    """The part of a request without which its outcome could not be delivered."""

    request_id: Uuid
    correlation_id: Uuid
    user_id: Uuid
    model_id: Uuid
    callback_url: HttpUrl


class GenerationRequested(WireModel):
    """EVT-AIG-001 AIImageGenerationRequested: somebody asks for an image."""

    request_id: Uuid
    correlation_id: Uuid
    user_id: Uuid
    prompt: Annotated[Prompt, Field(min_length=1)]
    model_id: Uuid
    resolution: Resolution
    aspect_ratio: AspectRatio
    callback_url: HttpUrl
    negative_prompt: Prompt | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), NumberAlone] | None = None
    inference_steps: Annotated[int, Field(ge=1, le=200), NumberAlone] | None = None
    cfg_scale: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False), NumberAlone] | None = None
    campaign_id: Uuid | None = None
    cancel_at: Moment | None = None
    """From then on it is canceled, wherever it stands; additive."""
    payload_version: PayloadVersion | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any, info: ValidationInfo) -> Any:
        # Forms and N8N send "" for a field that was left blank, whatever its type.
        optional = not cls.model_fields[str(info.field_name)].is_required()
        return None if optional and value == "" else value

    @model_validator(mode="after")
    def _ratio_agrees(self) -> Self:
        width, height = self.size
        across, down = map(int, self.aspect_ratio.split(":"))
        found, asked = width * down, height * across  # whole numbers: 4 % is 4 % to the point
        if abs(found - asked) * 100 >= asked * ASPECT_RATIO_TOLERANCE_PERCENT:
            divisor = math.gcd(width, height)
            raise ValueError(
                f"aspectRatio {self.aspect_ratio} does not agree with resolution {self.resolution},"
                f" which is {width // divisor}:{height // divisor}"
            )
        return self

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return parse_resolution(self.resolution)

    @property
    def ratio(self) -> tuple[int, int]:
        """(across, down) of `aspectRatio`."""
        across, down = map(int, self.aspect_ratio.split(":"))
        return across, down

    @property
    def image_digest(self) -> str:
        """SHA-256 of what makes the image and whose it is; another one is another request.

        Without `correlationId`, `callbackUrl`, `campaignId`, `cancelAt` and `payloadVersion`: an
        Odoo that has moved, and asks again, still gets the image that was paid for.
        """
        own = {"correlation_id", "callback_url", "campaign_id", "cancel_at", "payload_version"}
        text = self.model_dump_json(by_alias=True, exclude_none=True, exclude=own)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def deadline(self) -> datetime | None:
        """`cancelAt`, if there is one."""
        return datetime.fromisoformat(self.cancel_at) if self.cancel_at else None

    @property
    def shaping_fields(self) -> tuple[RequestField, ...]:
        """The optional fields that it has."""
        given = self.model_dump(by_alias=True, exclude_none=True)
        return tuple(field for field in RequestField if field in given)


MAX_WHOLE = 2**31 - 1
"""Of what receivers keep in columns of 32 bits."""


class ImageMetadata(WireModel):
    """What the specification says of an image; `size` in bytes, width and height in pixels."""

    format: str
    size: Annotated[int, Field(ge=1, le=MAX_WHOLE), NumberAlone]
    width: Annotated[int, Field(ge=1, le=MAX_WHOLE), NumberAlone]
    height: Annotated[int, Field(ge=1, le=MAX_WHOLE), NumberAlone]


def _one_of_data_or_url(schema: dict[str, Any]) -> None:
    # A null counts as absent, as it does for every optional field.
    schema["oneOf"] = [
        {"required": [name], "properties": {name: {"type": "string"}}}
        for name in ("imageData", "imageUrl")
    ]


class GenerationCompleted(WireModel):
    """EVT-AIG-002 AIImageGenerationCompleted. `hashValue` is the file's SHA-256 in hexadecimal.

    Just one of `imageData` (base64) and `imageUrl` (temporary link) is present.
    """

    model_config = ConfigDict(json_schema_extra=_one_of_data_or_url)

    request_id: Uuid
    correlation_id: Uuid
    status: Literal["completed"]
    image_metadata: ImageMetadata
    hash_value: Annotated[str, Field(min_length=1)]
    image_data: Base64 | None = None
    image_url: AbsoluteUrl | None = None
    ignored_fields: tuple[RequestField, ...] | None = None
    """Fields of the request that the image service had no place for; additive."""
    payload_version: PayloadVersion | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.image_data is None) == (self.image_url is None):
            raise ValueError("just one of imageData and imageUrl must be present")
        return self


class GenerationFailed(WireModel):
    """EVT-AIG-003 AIImageGenerationFailed.

    `errorMessage` is the operator's detail; `userMessage` is what an end user may read. Where the
    generation has an owner, `errorMessage` is the code and the `userMessage`. The fields from
    `errorType` on are additive. spec: error-handling.sequence, steps 8.1 to 9.4.
    """

    request_id: Uuid
    correlation_id: Uuid
    status: Literal["failed"]
    error_message: str
    error_code: str | None = None
    error_type: str | None = None
    is_system_error: Flag | None = None
    is_user_error: Flag | None = None
    retry_suggestion: Flag | None = None
    user_message: str | None = None
    error_details: str | None = None
    """The same as `errorMessage`, under the name of generation-failure.sequence, step 3."""
    may_have_been_paid: Flag | None = None
    """The image service may have charged for it, although there is no image."""
    payload_version: PayloadVersion | None = None
