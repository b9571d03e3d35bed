"""OpenAI Images, and every server that speaks it (vLLM-Omni, SGLang, LocalAI, a gateway).

Synchronous and without an idempotency key: a reply lost after the request was sent may have been
billed. A link in its answer is fetched from the server's own host; elsewhere the server must be
asked for bytes: `response_format = "b64_json"` among the route's parameters. `base_url` is the
server's root, with or without `/v1`.
"""

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from activities.errors import ProviderError
from activities.images import MAX_IMAGE_BYTES
from activities.memory import Admit
from activities.providers.errors import (
    Dialect,
    Refusal,
    error_of,
    phrase,
    read_detail,
    refused,
    text_of,
    translated,
    unreadable,
)
from activities.providers.kind import Parts, ProviderKind, ProviderSettings
from activities.providers.probing import LookUp, models_listed, probe_by_look_up
from contracts.errors import ErrorCode
from contracts.events import RequestField
from contracts.generation import Route, SubmitTask
from contracts.provider_health import Probed
from peers.http import Answer, call, parsed

MAX_REPLY_BYTES = MAX_IMAGE_BYTES * 4 // 3 + 65_536
"""The largest image in base64, and the JSON around it."""

LEAST_LINK_SECONDS = 10.0
"""For fetching the image behind a link, however long the server took to make it."""

_QUOTA, _MODEL = ErrorCode.QUOTA_EXHAUSTED, ErrorCode.MODEL_CONFIG


_DIFFUSION_FIELDS = {
    RequestField.NEGATIVE_PROMPT: "negative_prompt",
    RequestField.INFERENCE_STEPS: "num_inference_steps",
    RequestField.CFG_SCALE: "guidance_scale",
    RequestField.SEED: "seed",
}


def _read_error(body: dict[str, Any]) -> Refusal:
    error = body.get("error")
    if isinstance(error, str):
        return Refusal(text_of(body.get("code")), error)  # xAI
    if not isinstance(error, dict):
        return read_detail(body)  # a compatible server
    code = text_of(error.get("code"))
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        code = "flagged_input"  # OpenRouter, under 403
    details = error.get("moderation_details") or body.get("moderation_details")
    stage = details.get("moderation_stage") if isinstance(details, dict) else None
    if code == "moderation_blocked" and stage == "output":
        code = "moderation_blocked:output"
    # A quota error hides in a 429 by its type; some servers leave the code empty then.
    if code not in OPENAI.codes and text_of(error.get("type")) in OPENAI.codes:
        code = text_of(error.get("type"))
    param = text_of(error.get("param"))
    param = None if param in {"None", "null", ""} else param  # LiteLLM writes it so
    return Refusal(code, text_of(error.get("message")), param)


OPENAI = Dialect(
    name="the image service",
    read=_read_error,
    codes={
        "rate_limit_exceeded": ErrorCode.RATE_LIMITED,
        "slow_down": ErrorCode.RATE_LIMITED,
        "server_error": ErrorCode.PROVIDER_UNAVAILABLE,
        "server_is_overloaded": ErrorCode.PROVIDER_UNAVAILABLE,
        "moderation_blocked": ErrorCode.POLICY_INPUT,
        "moderation_blocked:output": ErrorCode.POLICY_OUTPUT,
        "content_policy_violation": ErrorCode.POLICY_INPUT,
        # https://openrouter.ai/docs/errors; Azure OpenAI's content filter
        "flagged_input": ErrorCode.POLICY_INPUT,
        "content_filter": ErrorCode.POLICY_INPUT,
        "contentFilter": ErrorCode.POLICY_INPUT,
        "ResponsibleAIPolicyViolation": ErrorCode.POLICY_INPUT,
        "invalid_value": ErrorCode.INVALID_INPUT,
        # vercel/ai#6102: a field of the body that the service does not know (any more)
        "unknown_parameter": ErrorCode.MODEL_CONFIG,
        "unsupported_parameter": ErrorCode.MODEL_CONFIG,
        "invalid_image_file": ErrorCode.INVALID_INPUT,
        "model_not_found": ErrorCode.MODEL_CONFIG,
        "invalid_api_key": ErrorCode.AUTH_CONFIG,
        "insufficient_quota": _QUOTA,
        "credit_balance_exhausted": _QUOTA,
        "organization_spend_limit_exceeded": _QUOTA,
        "project_spend_limit_exceeded": _QUOTA,
        "organization_usage_limit_exceeded": _QUOTA,
        "billing_hard_limit_reached": _QUOTA,
        "no_db_connection": ErrorCode.AUTH_CONFIG,  # LiteLLM without keys of its own: not this one
        "budget_exceeded": _QUOTA,  # open-webui/open-webui#5469 (LiteLLM, by its type)
    },
    phrases=(
        phrase(
            r"invalid model name|model\b.*\b(not found|does not exist)",
            _MODEL,
            "BerriAI/litellm#3142",
        ),
        phrase(
            r"(argument|parameter) not supported|unrecognized request argument|unknown parameter"
            r"|unsupported parameter|extra inputs are not permitted",
            _MODEL,
            "open-webui/open-webui#23611 (xAI), ddcat-ai/open-ai-canvas#167 (FastAPI)",
        ),
        phrase(r"budget has been exceeded", _QUOTA, "open-webui/open-webui#5469"),
        phrase(
            r"content (policy|filter)|safety system|needs moderation|flagged",
            ErrorCode.REFUSED,
            "pollinations/pollinations#12067 (Azure, under 403); LiteLLM 1.108.7 (OpenAI's words, and"
            " its code is gone)",
        ),
    ),
    users_fields=frozenset({"prompt", "size", "aspect_ratio", *_DIFFUSION_FIELDS.values()}),
)


OPENAI_LINK = Dialect(
    name="the image service's link",
    read=_read_error,
    statuses=dict.fromkeys((400, 401, 403, 404, 410), ErrorCode.RESULT_EXPIRED),
)


KeyHeader = Literal["Authorization", "api-key"]


class OpenAISettings(ProviderSettings):
    """One server that speaks OpenAI Images, and a key for it."""

    takes_query = True  # Azure's api-version

    kind: Literal["openai"]
    key_header: KeyHeader = "Authorization"
    """How the key is sent: as a Bearer token, or alone in `api-key` (Azure)."""
    diffusion_fields: bool = False
    """Send negative_prompt, seed, num_inference_steps and guidance_scale: servers of one's own take
    them, OpenAI's refuses them."""


def below(base_url: str, what: str) -> str:
    """The address of `what` (`images/generations`, `models`) of a server.

    `base_url` is the root, with or without `/v1`; or Azure's, a deployment with its `api-version`:
    `https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT?api-version=…`.
    """
    root, mark, query = base_url.partition("?")
    root = root.rstrip("/")
    versioned = root.endswith("/v1") or "/deployments/" in root
    return f"{root}{'' if versioned else '/v1'}/{what}{mark}{query}"


def key_headers(name: KeyHeader, key: str) -> dict[str, str]:
    """The header that carries the key."""
    return {name: f"Bearer {key}" if name == "Authorization" else key}


class _Image(BaseModel):
    # Decoded from base64 while the JSON is parsed: the reply and the image, and no third copy.
    model_config = ConfigDict(val_json_bytes="base64")

    b64_json: bytes | None = None
    url: str | None = None
    respect_moderation: bool | None = None
    """xAI: false when the image was made and kept back. vercel/ai#19168"""


class _Reply(BaseModel):
    data: list[_Image]


class _Link(NamedTuple):
    """Where the image is, when it is not in the answer itself."""

    url: str


class OpenAIImages:
    """One server. It answers with the image itself; there is nothing to collect."""

    repeatable = False

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str,
        api_key: SecretStr,
        *,
        diffusion_fields: bool = False,
        key_header: KeyHeader = "Authorization",
    ) -> None:
        self._client = client
        self._diffusion_fields = diffusion_fields
        self._url = below(base_url, "images/generations")
        self._key = api_key.get_secret_value()
        self._key_header = key_header

    async def submit(self, task: SubmitTask, admit: Admit) -> bytes:
        """Generate, wait for the reply, and take the image out of it."""
        async with translated(OPENAI, self._key):
            began = asyncio.get_running_loop().time()
            answer = await call(
                self._client,
                "POST",
                self._url,
                timeout_seconds=task.route.timeout_seconds,
                max_bytes=MAX_REPLY_BYTES,
                headers={
                    **key_headers(self._key_header, self._key),
                    "Content-Type": "application/json",
                },
                content=_body(task, diffusion_fields=self._diffusion_fields),
                before_body=admit,
            )
            image = _image_in(answer, task.route)
            if isinstance(image, bytes):
                return image
            left = task.route.timeout_seconds - (asyncio.get_running_loop().time() - began)
            try:
                return await self._linked(image.url, max(left, LEAST_LINK_SECONDS))
            except Exception as error:
                found = error_of(error, OPENAI_LINK)
                found.perhaps_paid = True  # it was made, whatever became of the link
                if found is error:
                    raise
                raise found from error

    async def _linked(self, url: str, seconds: float) -> bytes:
        """The image behind a link, which a server may answer with: from its own host alone."""
        if not _same_origin(url, self._url):
            raise ProviderError(
                ErrorCode.MODEL_CONFIG,
                f"{OPENAI.name} answered with a link to another host than base_url's, where images"
                ' are not fetched from: set response_format = "b64_json" among the route\'s'
                " parameters",
            )
        answer = await call(
            self._client, "GET", url, timeout_seconds=seconds, max_bytes=MAX_IMAGE_BYTES
        )
        if answer.status != 200:
            raise refused(answer, OPENAI_LINK)
        return answer.body


def _build(settings: OpenAISettings, parts: Parts) -> OpenAIImages:
    return OpenAIImages(
        parts.http,
        settings.base_url,
        settings.api_key,
        diffusion_fields=settings.diffusion_fields,
        key_header=settings.key_header,
    )


async def _probe(
    name: str, settings: OpenAISettings, http: httpx.AsyncClient, models: Collection[str]
) -> Probed:
    images = below(settings.base_url, "images/generations")
    look_up = LookUp(
        below(settings.base_url, "models"),
        key_headers(settings.key_header, settings.api_key.get_secret_value()),
        models_listed(models, name),
        may_be_public=True,
        calls={images: f"check providers.{name}.base_url"} if models else {},
    )
    return await probe_by_look_up(http, name, settings.base_url, settings.api_key, look_up)


def _carries(settings: OpenAISettings) -> Mapping[RequestField, str]:
    return _DIFFUSION_FIELDS if settings.diffusion_fields else {}


OPENAI_KIND = ProviderKind(
    name="openai",
    settings=OpenAISettings,
    build=_build,
    probe=_probe,
    has_jobs=False,
    carries=_carries,
)


def _body(task: SubmitTask, *, diffusion_fields: bool) -> bytes:
    request = task.request
    fields: dict[str, Any] = {
        "prompt": request.prompt,
        "model": task.route.model,
        "n": 1,
    }
    if task.route.size_by == "aspect_ratio":
        fields["aspect_ratio"] = request.aspect_ratio
    else:
        fields["size"] = request.resolution
    if diffusion_fields:
        asked = request.model_dump(by_alias=True)
        fields |= {name: asked[field] for field, name in _DIFFUSION_FIELDS.items()}
    fields |= task.route.parameters
    kept = {k: v for k, v in fields.items() if v is not None and k not in task.route.omit}
    return json.dumps(kept).encode()


def _image_in(answer: Answer, route: Route) -> bytes | _Link:
    if answer.status != 200:
        raise refused(answer, OPENAI, route)
    try:
        reply = _Reply.model_validate_json(answer.body)
    except ValidationError as error:
        body = parsed(answer)
        if isinstance(body, dict) and "error" in body:  # an error under status 200
            raise refused(answer, OPENAI, route) from None
        why = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors()[:3])
        raise unreadable(answer, OPENAI, why) from None
    # What it was asked for and paid for once will not be another time: it is not asked again.
    first = next(iter(reply.data), _Image())
    if first.respect_moderation is False:
        raise ProviderError(
            ErrorCode.POLICY_OUTPUT,
            f"{OPENAI.name} has kept its image back (respect_moderation is false)",
            perhaps_paid=True,
        )
    if first.b64_json:
        return first.b64_json
    if first.url:
        return _Link(first.url)
    if first.b64_json is not None:
        return first.b64_json  # of no bytes, which is no image
    empty = unreadable(answer, OPENAI, "there is no image in data; moderated in silence?")
    empty.final = True
    raise empty


def _same_origin(url: str, base: str) -> bool:
    try:
        one, other = httpx.URL(url), httpx.URL(base)
    except httpx.InvalidURL:
        return False
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
