"""The three events on the wire, field for field as the specification has them.

camelCase in JSON, snake_case here. Unknown fields are ignored (additive evolution); an unsupported
major `payloadVersion` is refused. spec: event-driven-architecture, EVT-AIG-001 to 003.
"""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

SUPPORTED_MAJOR_VERSION = "1"
MAX_PROMPT_CHARACTERS = 32_000
MIN_SIDE_PIXELS, MAX_SIDE_PIXELS = 64, 4_096
ASPECT_RATIO_TOLERANCE = 0.02
MAX_URL_CHARACTERS = 2_048

_SIDES = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_RATIO = re.compile(r"(\d{1,5}):(\d{1,5})", re.ASCII)
_VERSION = re.compile(r"(\d{1,5})(\.\d{1,5}){0,2}", re.ASCII)


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


def _http_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or any(c <= " " for c in text):
        raise ValueError("must be an absolute http or https URL")
    if url.username is not None or url.password is not None:
        raise ValueError("must not carry a user name or a password")
    if url.port == 0:
        raise ValueError("port 0 cannot be called")
    return text


def origin_of(url: str) -> str:
    """`scheme://host[:port]`, lower case and without a default port: what allow lists compare."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


HttpUrl = Annotated[
    str,
    Field(max_length=MAX_URL_CHARACTERS, json_schema_extra={"format": "uri"}),
    AfterValidator(_http_url),
]
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
PayloadVersion = Annotated[str, Field(max_length=17), AfterValidator(_payload_version)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]


class GenerationRequested(WireModel):
    """EVT-AIG-001 AIImageGenerationRequested: somebody asks for an image."""

    request_id: UUID
    correlation_id: UUID
    user_id: UUID
    prompt: Annotated[Prompt, Field(min_length=1)]
    model_id: UUID
    resolution: Resolution
    aspect_ratio: AspectRatio
    callback_url: HttpUrl
    negative_prompt: Prompt | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    inference_steps: Annotated[int, Field(ge=1, le=200)] | None = None
    cfg_scale: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)] | None = None
    campaign_id: UUID | None = None
    payload_version: PayloadVersion | None = None

    @model_validator(mode="after")
    def _ratio_agrees(self) -> Self:
        width, height = self.size
        across, down = map(int, self.aspect_ratio.split(":"))
        if abs(width / height / (across / down) - 1) > ASPECT_RATIO_TOLERANCE:
            raise ValueError(
                f"aspectRatio {self.aspect_ratio} does not agree with resolution {self.resolution}"
                f" within {ASPECT_RATIO_TOLERANCE:.0%}"
            )
        return self

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return parse_resolution(self.resolution)


class ImageMetadata(WireModel):
    """What the specification says of an image; `size` in bytes, width and height in pixels."""

    format: str
    size: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]


def _one_of_data_or_url(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": ["imageData"]}, {"required": ["imageUrl"]}]


class GenerationCompleted(WireModel):
    """EVT-AIG-002 AIImageGenerationCompleted. `hashValue` is the file's SHA-256 in hexadecimal.

    Just one of `imageData` (base64) and `imageUrl` (temporary link) is present.
    """

    model_config = ConfigDict(json_schema_extra=_one_of_data_or_url)

    request_id: UUID
    correlation_id: UUID
    status: Literal["completed"] = "completed"
    image_metadata: ImageMetadata
    hash_value: Annotated[str, Field(min_length=1)]
    image_data: Annotated[str, Field(json_schema_extra={"format": "byte"})] | None = None
    image_url: Annotated[str, Field(json_schema_extra={"format": "uri"})] | None = None
    payload_version: PayloadVersion | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.image_data is None) == (self.image_url is None):
            raise ValueError("just one of imageData and imageUrl must be present")
        return self


class GenerationFailed(WireModel):
    """EVT-AIG-003 AIImageGenerationFailed.

    `errorMessage` is the operator's detail; `userMessage` is what an end user may read. The last
    five fields are additive. spec: error-handling.sequence, steps 8.1 to 9.4.
    """

    request_id: UUID
    correlation_id: UUID
    status: Literal["failed"] = "failed"
    error_message: str
    error_code: str | None = None
    error_type: str | None = None
    is_system_error: bool | None = None
    is_user_error: bool | None = None
    retry_suggestion: bool | None = None
    user_message: str | None = None
    payload_version: PayloadVersion | None = None
