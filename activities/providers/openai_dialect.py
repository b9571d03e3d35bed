"""How OpenAI Images, and servers and gateways that speak it, refuse."""

import re
from typing import Any

from activities.providers.errors import Dialect, Refusal, phrase, read_detail, text_of
from contracts.errors import ErrorCode
from contracts.events import RequestField

_QUOTA, _MODEL = ErrorCode.QUOTA_EXHAUSTED, ErrorCode.MODEL_CONFIG


DIFFUSION_FIELDS = {
    RequestField.NEGATIVE_PROMPT: "negative_prompt",
    RequestField.INFERENCE_STEPS: "num_inference_steps",
    RequestField.CFG_SCALE: "guidance_scale",
    RequestField.SEED: "seed",
}
"""What servers of one's own call the optional fields of a request."""


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
    # Azure names its filter a level deeper, and LiteLLM one more. BerriAI/litellm#16072, #16231
    specific = error.get("provider_specific_fields")
    for outer in (error, specific if isinstance(specific, dict) else {}):
        inner = outer.get("inner_error") or outer.get("innererror")
        if code not in OPENAI.codes and isinstance(inner, dict):
            code = text_of(inner.get("code")) or code
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
        "image_generation_user_error": ErrorCode.INVALID_INPUT,  # Wei-Shaw/sub2api#2399
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
            r"content (management )?polic|content (filter|moderation)|safety system"
            r"|needs moderation|flagged|violates? our polic",
            ErrorCode.REFUSED,
            "pollinations/pollinations#12067, NVIDIA-NeMo/Guardrails#986 (Azure), LiteLLM 1.108.7"
            " (drops OpenAI's code), epam/ai-dial-adapter-vertexai#48 (Imagen)",
        ),
    ),
    # LiteLLM 1.108.7 says so under 500 of a reply that it has lost.
    lost=re.compile(r"APIConnectionError|APITimeoutError|litellm\.Timeout|Connection error"),
    users_fields=frozenset({"prompt", "size", "aspect_ratio", *DIFFUSION_FIELDS.values()}),
)


OPENAI_LINK = Dialect(
    name="the image service's link",
    read=_read_error,
    quoted=False,
    statuses=dict.fromkeys((400, 401, 403, 404, 410), ErrorCode.RESULT_EXPIRED),
)
