"""OpenAI Images, and every server that speaks it (vLLM-Omni, SGLang, LocalAI, a gateway).

Synchronous and without an idempotency key: a reply lost after the request was sent may have been
billed. A server that answers with links must be asked for bytes: `response_format = "b64_json"`
among the route's parameters. `base_url` is the server's root, without `/v1`.
"""

import json
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from activities.images import MAX_IMAGE_BYTES
from activities.memory import Admit
from activities.providers.errors import (
    Dialect,
    Refusal,
    read_detail,
    refused,
    text_of,
    translated,
    unreadable,
)
from activities.providers.kind import Parts, ProviderKind, ProviderSettings
from activities.providers.probing import LookUp, probe_by_look_up
from contracts.errors import ErrorCode
from contracts.events import RequestField
from contracts.generation import SubmitTask
from contracts.provider_health import Probed
from peers.http import Answer, call, parsed

MAX_REPLY_BYTES = MAX_IMAGE_BYTES * 4 // 3 + 65_536
"""The largest image in base64, and the JSON around it."""

_QUOTA = ErrorCode.QUOTA_EXHAUSTED


def _read_error(body: dict[str, Any]) -> Refusal:
    error = body.get("error")
    if not isinstance(error, dict):
        return read_detail(body)  # a compatible server
    code = text_of(error.get("code"))
    details = error.get("moderation_details") or body.get("moderation_details")
    stage = details.get("moderation_stage") if isinstance(details, dict) else None
    if code == "moderation_blocked" and stage == "output":
        code = "moderation_blocked:output"
    # A quota error hides in a 429 by its type; some servers leave the code empty then.
    if code not in OPENAI.codes and text_of(error.get("type")) in OPENAI.codes:
        code = text_of(error.get("type"))
    return Refusal(code, text_of(error.get("message")), text_of(error.get("param")))


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
        "invalid_value": ErrorCode.INVALID_INPUT,
        "invalid_image_file": ErrorCode.INVALID_INPUT,
        "model_not_found": ErrorCode.MODEL_CONFIG,
        "invalid_api_key": ErrorCode.AUTH_CONFIG,
        "insufficient_quota": _QUOTA,
        "credit_balance_exhausted": _QUOTA,
        "organization_spend_limit_exceeded": _QUOTA,
        "project_spend_limit_exceeded": _QUOTA,
        "organization_usage_limit_exceeded": _QUOTA,
        "billing_hard_limit_reached": _QUOTA,
    },
)


class OpenAISettings(ProviderSettings):
    """One server that speaks OpenAI Images, and a key for it."""

    kind: Literal["openai"]
    diffusion_fields: bool = False
    """Send negative_prompt, seed, num_inference_steps and guidance_scale: servers of one's own take
    them, OpenAI's refuses them."""


class _Image(BaseModel):
    # Decoded from base64 while the JSON is parsed: the reply and the image, and no third copy.
    model_config = ConfigDict(val_json_bytes="base64")

    b64_json: bytes


class _Reply(BaseModel):
    data: list[_Image]


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
    ) -> None:
        self._client = client
        self._diffusion_fields = diffusion_fields
        self._url = f"{base_url.rstrip('/')}/v1/images/generations"
        self._key = api_key.get_secret_value()

    async def submit(self, task: SubmitTask, admit: Admit) -> bytes:
        """Generate, wait for the reply, and take the image out of it."""
        async with translated(OPENAI, self._key):
            answer = await call(
                self._client,
                "POST",
                self._url,
                timeout_seconds=task.route.timeout_seconds,
                max_bytes=MAX_REPLY_BYTES,
                headers={
                    "Authorization": f"Bearer {self._key}",
                    "Content-Type": "application/json",
                },
                content=_body(task, diffusion_fields=self._diffusion_fields),
                before_body=admit,
            )
            return _image_in(answer)


def _build(settings: OpenAISettings, parts: Parts) -> OpenAIImages:
    return OpenAIImages(
        parts.http,
        settings.base_url,
        settings.api_key,
        diffusion_fields=settings.diffusion_fields,
    )


async def _probe(name: str, settings: OpenAISettings, http: httpx.AsyncClient) -> Probed:
    bearer = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    look_up = LookUp("/v1/models", bearer)
    return await probe_by_look_up(http, name, settings.base_url, settings.api_key, look_up)


def _carries(settings: OpenAISettings) -> frozenset[RequestField]:
    return frozenset(RequestField if settings.diffusion_fields else ())


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
        "size": request.resolution,
    }
    if diffusion_fields:
        fields |= {
            "negative_prompt": request.negative_prompt,
            "num_inference_steps": request.inference_steps,
            "guidance_scale": request.cfg_scale,
            "seed": request.seed,
        }
    fields |= task.route.parameters
    return json.dumps({k: v for k, v in fields.items() if v is not None}).encode()


def _image_in(answer: Answer) -> bytes:
    if answer.status != 200:
        raise refused(answer, OPENAI)
    try:
        reply = _Reply.model_validate_json(answer.body)
    except ValidationError as error:
        body = parsed(answer)
        if isinstance(body, dict) and "error" in body:  # an error under status 200
            raise refused(answer, OPENAI) from None
        why = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors()[:3])
        raise unreadable(answer, OPENAI, why) from None
    if not reply.data:
        raise unreadable(answer, OPENAI, "data is empty")
    return reply.data[0].b64_json
