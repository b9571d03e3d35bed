"""Every signal of OpenAI Images, and of servers that speak it, over real HTTP into the taxonomy."""

import base64
import codecs
import json
from typing import Any

import httpx
import pytest

from activities.providers.flux import FLUX
from activities.providers.openai_dialect import OPENAI
from contracts.errors import TAXONOMY, ErrorCode, ErrorKind
from contracts.events import GenerationRequested
from tests.activities.http_peer import (
    Peer,
    Reply,
    answer,
    chunked,
    drip,
    hang,
    html,
    raw,
    refusing_url,
    reset,
)
from tests.activities.provider_calls import SHORT, at_once, openai, refusal, submission


def said(status: int, code: str | None, kind: str = "invalid_request_error", **more: Any) -> Reply:
    """An error as OpenAI words it."""
    error = {"message": "the operator's words", "type": kind, "param": None, "code": code, **more}
    return answer(status, {"error": error})


def moderated(**details: Any) -> Reply:
    """A refusal by the safety system."""
    return said(400, "moderation_blocked", **details)


QUOTA = "insufficient_quota"

REFUSALS: dict[str, tuple[Reply, str]] = {
    "429 rate_limit_exceeded": (said(429, "rate_limit_exceeded", "tokens"), "RATE_LIMITED"),
    "429 slow_down": (said(429, "slow_down", "requests"), "RATE_LIMITED"),
    "429 without a body": (answer(429), "RATE_LIMITED"),
    "429 as a page": (html(429), "RATE_LIMITED"),
    "408": (answer(408), "PROVIDER_TIMEOUT"),
    "504": (html(504), "PROVIDER_TIMEOUT"),
    "409": (answer(409), "PROVIDER_UNAVAILABLE"),
    "425": (answer(425), "PROVIDER_UNAVAILABLE"),
    "500 server_error": (said(500, "server_error", "server_error"), "PROVIDER_UNAVAILABLE"),
    "500 by its type": (said(500, None, "server_error"), "PROVIDER_UNAVAILABLE"),
    "503 server_is_overloaded": (said(503, "server_is_overloaded"), "PROVIDER_UNAVAILABLE"),
    "500 as a page": (html(500), "PROVIDER_UNAVAILABLE"),
    "502 as a page": (html(502), "PROVIDER_UNAVAILABLE"),
    "502 in its own words": (said(502, "server_error"), "PROVIDER_UNAVAILABLE"),
    "504 in JSON": (answer(504, {"message": "Endpoint request timed out"}), "PROVIDER_TIMEOUT"),
    "520 as a page": (html(520), "PROVIDER_UNAVAILABLE"),
    "521 as a page": (html(521), "PROVIDER_UNAVAILABLE"),
    "524": (html(524), "PROVIDER_TIMEOUT"),
    "503 of FastAPI": (answer(503, {"detail": "model is loading"}), "PROVIDER_UNAVAILABLE"),
    "599": (answer(599), "PROVIDER_UNAVAILABLE"),
    "moderated, input": (
        moderated(moderation_details={"moderation_stage": "input"}),
        "POLICY_INPUT",
    ),
    "moderated, unknown": (
        moderated(moderation_details={"moderation_stage": "unknown"}),
        "POLICY_INPUT",
    ),
    "moderated, no stage": (moderated(), "POLICY_INPUT"),
    "moderated, odd details": (moderated(moderation_details=["?"]), "POLICY_INPUT"),
    "moderated, output": (
        moderated(moderation_details={"moderation_stage": "output"}),
        "POLICY_OUTPUT",
    ),
    "moderated, output, outside": (
        answer(
            400,
            {
                "error": {"code": "moderation_blocked"},
                "moderation_details": {"moderation_stage": "output"},
            },
        ),
        "POLICY_OUTPUT",
    ),
    "content_policy_violation": (said(400, "content_policy_violation"), "POLICY_INPUT"),
    "invalid_value": (said(400, "invalid_value", param="size"), "INVALID_INPUT"),
    "invalid_image_file": (said(400, "invalid_image_file"), "INVALID_INPUT"),
    "400 alone": (answer(400), "INVALID_INPUT"),
    # https://openrouter.ai/docs/errors
    "flagged, under 403": (
        answer(
            403,
            {
                "error": {
                    "code": 403,
                    "message": "this model needs moderation, input flagged",
                    "metadata": {"reasons": ["violence"], "flagged_input": "…"},
                }
            },
        ),
        "POLICY_INPUT",
    ),
    # pollinations/pollinations#12067: words alone blame nobody who pays, and not the key either
    "content policy, under 403": (
        answer(403, {"error": {"code": "Forbidden", "message": "blocked, content policy"}}),
        "REFUSED",
    ),
    "content policy, under 400": (
        answer(400, {"error": {"message": "violates our content policy"}}),
        "REFUSED",
    ),
    # LiteLLM 1.108.7 before OpenAI: the code is gone
    "safety system, under 400": (
        answer(
            400,
            {
                "error": {
                    "message": "litellm.BadRequestError: OpenAIException - Your request was"
                    " rejected by the safety system.",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "400",
                }
            },
        ),
        "REFUSED",
    ),
    "content management policy": (
        answer(400, {"error": {"message": "triggering Azure OpenAI's content management policy"}}),
        "REFUSED",
    ),
    "a filter's code, one level deeper": (
        answer(
            400,
            {
                "error": {
                    "message": "filtered",
                    "code": "400",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
        ),
        "POLICY_INPUT",
    ),
    "a filter's code, two levels deeper": (
        answer(
            400,
            {
                "error": {
                    "message": "filtered",
                    "code": "400",
                    "provider_specific_fields": {
                        "inner_error": {"code": "ResponsibleAIPolicyViolation"}
                    },
                }
            },
        ),
        "POLICY_INPUT",
    ),
    "odd inner errors": (
        answer(400, {"error": {"innererror": ["?"], "provider_specific_fields": "?"}}),
        "INVALID_INPUT",
    ),
    "a reply that the gateway has lost": (
        answer(
            500,
            {
                "error": {
                    "message": "litellm.InternalServerError: InternalServerError: OpenAIException -"
                    " Connection error.",
                    "type": None,
                    "param": None,
                    "code": "500",
                }
            },
        ),
        "PROVIDER_UNAVAILABLE",
    ),
    "a key that it does not know, under 400": (
        answer(
            400,
            {
                "error": {
                    "message": "No connected db.",
                    "type": "no_db_connection",
                    "param": None,
                    "code": "400",
                }
            },
        ),
        "AUTH_CONFIG",
    ),
    # vercel/ai#6102
    "a parameter of ours, unknown": (
        said(400, "unknown_parameter", param="response_format"),
        "MODEL_CONFIG",
    ),
    "a parameter of ours, wrong": (said(400, "invalid_value", param="quality"), "MODEL_CONFIG"),
    # open-webui/open-webui#5469 (LiteLLM)
    "budget, under 400": (
        answer(
            400,
            {
                "error": {
                    "message": "Budget has been exceeded! Current cost: 3.0, Max budget: 2.0",
                    "type": "budget_exceeded",
                    "param": None,
                    "code": "400",
                }
            },
        ),
        "QUOTA_EXHAUSTED",
    ),
    "budget, under 429": (
        answer(429, {"error": {"message": "…", "type": "budget_exceeded", "code": "429"}}),
        "QUOTA_EXHAUSTED",
    ),
    # BerriAI/litellm#3142
    "no such model, under 400": (
        answer(
            400,
            {
                "error": {
                    "message": "/images/generations: Invalid model name passed in model=x",
                    "type": "None",
                    "param": "None",
                    "code": "400",
                }
            },
        ),
        "MODEL_CONFIG",
    ),
    "a model that does not exist": (
        answer(400, {"message": "The model `x` does not exist.", "type": "NotFoundError"}),
        "MODEL_CONFIG",
    ),
    # open-webui/open-webui#23611 (xAI)
    "a field that is not supported": (
        answer(400, {"code": "400", "error": "Argument not supported: size"}),
        "MODEL_CONFIG",
    ),
    # ddcat-ai/open-ai-canvas#167
    "a field too many, of FastAPI": (
        answer(
            422,
            {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        ),
        "MODEL_CONFIG",
    ),
    # vercel/ai#19168 (xAI)
    "kept back": (
        answer(200, {"data": [{"b64_json": None, "url": "", "respect_moderation": False}]}),
        "POLICY_OUTPUT",
    ),
    "413": (answer(413), "INVALID_INPUT"),
    "401": (said(401, "invalid_api_key"), "AUTH_CONFIG"),
    "401 alone": (answer(401), "AUTH_CONFIG"),
    "403": (said(403, None), "AUTH_CONFIG"),
    "402": (answer(402), "QUOTA_EXHAUSTED"),
    "404 model_not_found": (said(404, "model_not_found"), "MODEL_CONFIG"),
    "400 model_not_found": (said(400, "model_not_found"), "MODEL_CONFIG"),
    "404 alone": (answer(404), "MODEL_CONFIG"),
    "405": (answer(405), "MODEL_CONFIG"),
    "407, as a proxy says it": (answer(407), "AUTH_CONFIG"),
    "429 quota by type alone": (said(429, None, QUOTA), "QUOTA_EXHAUSTED"),
    "429 quota, unknown code": (said(429, "a_new_limit", QUOTA), "QUOTA_EXHAUSTED"),
    "429 credit": (said(429, "credit_balance_exhausted", QUOTA), "QUOTA_EXHAUSTED"),
    "429 organization": (
        said(429, "organization_spend_limit_exceeded", QUOTA),
        "QUOTA_EXHAUSTED",
    ),
    "429 project": (said(429, "project_spend_limit_exceeded", QUOTA), "QUOTA_EXHAUSTED"),
    "429 usage": (said(429, "organization_usage_limit_exceeded", QUOTA), "QUOTA_EXHAUSTED"),
    "429 insufficient_quota": (said(429, QUOTA, QUOTA), "QUOTA_EXHAUSTED"),
    "400 hard limit": (said(400, "billing_hard_limit_reached"), "QUOTA_EXHAUSTED"),
    "301": (answer(301, "", {"location": "http://example.com/"}), "MODEL_CONFIG"),
    "307": (answer(307, "", {"location": "http://example.com/"}), "MODEL_CONFIG"),
    "418": (answer(418), "INTERNAL"),
    "422 of FastAPI": (
        answer(422, {"detail": [{"loc": ["body", "size"], "msg": "bad", "type": "value_error"}]}),
        "INVALID_INPUT",
    ),
    "400 of FastAPI": (answer(400, {"detail": "unsupported size"}), "INVALID_INPUT"),
    "odd error": (answer(500, {"error": "boom"}), "PROVIDER_UNAVAILABLE"),
    "numbers for codes": (
        answer(500, {"error": {"code": 500, "type": 1, "message": {}, "param": []}}),
        "PROVIDER_UNAVAILABLE",
    ),
    "error under 200": (said(200, "moderation_blocked"), "POLICY_INPUT"),
    "error under 200 by type": (said(200, None, "server_error"), "PROVIDER_UNAVAILABLE"),
    "unknown error under 200": (answer(200, {"error": "boom"}), "INVALID_OUTPUT"),
    "page under 200": (html(200), "INVALID_OUTPUT"),
    "nothing under 200": (answer(200), "INVALID_OUTPUT"),
    "no data": (answer(200, {"created": 1}), "INVALID_OUTPUT"),
    "empty data": (answer(200, {"data": []}), "INVALID_OUTPUT"),
    "a link": (answer(200, {"data": [{"url": "http://example.com/a.png"}]}), "MODEL_CONFIG"),
    "an empty link": (answer(200, {"data": [{"url": "", "b64_json": None}]}), "INVALID_OUTPUT"),
    "not base64": (answer(200, {"data": [{"b64_json": "%%%"}]}), "INVALID_OUTPUT"),
    "a list": (answer(200, [1]), "INVALID_OUTPUT"),
    "deep": (answer(200, b"[" * 100_000), "INVALID_OUTPUT"),
    "not UTF-8": (answer(200, b"\xff\xfe\x00"), "INVALID_OUTPUT"),
    "announced too large": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n{"),
        "INVALID_OUTPUT",
    ),
}

PERHAPS_PAID = {
    "408",
    "504",
    "524",
    "504 in JSON",
    "502 as a page",
    "520 as a page",
    "a reply that the gateway has lost",
    "moderated, output",
    "moderated, output, outside",
    "unknown error under 200",
    "kept back",
    "a link",
    *(name for name, (_, code) in REFUSALS.items() if code == "INVALID_OUTPUT"),
}
"""An image may have been made all the same: a proxy gave up waiting for the service or lost it, the
image was looked at and kept back, or what came is no image."""

FINAL = {"empty data", "an empty link"}
"""Paid for, and a second call would bring the same."""

LOST: dict[str, tuple[Reply, str]] = {
    "closed without an answer": (raw(), "OUTCOME_UNKNOWN"),
    "reset": (reset, "OUTCOME_UNKNOWN"),
    "cut off": (
        raw(b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"data": ['),
        "OUTCOME_UNKNOWN",
    ),
    "not HTTP": (raw(b"220 mail.example.com ESMTP\r\n"), "OUTCOME_UNKNOWN"),
    "not the gzip it says": (answer(200, "oh", {"content-encoding": "gzip"}), "INVALID_OUTPUT"),
    "hang": (hang, "PROVIDER_TIMEOUT"),
    "drip": (drip, "PROVIDER_TIMEOUT"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusal(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, name: str
) -> None:
    """An answer, however odd, has its code, and says whether it may have been paid for."""
    reply, code = REFUSALS[name]
    peer.says(reply)
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert (error.failure.code, error.final) == (code, name in FINAL)
    assert bool(error.perhaps_paid) == (name in PERHAPS_PAID)
    assert len(peer.received) == 1


@pytest.mark.parametrize(("reply", "code"), LOST.values(), ids=LOST)
async def test_lost_reply(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, reply: Reply, code: str
) -> None:
    """A reply that is lost after the request was sent may have been paid for, and says so."""
    peer.says(reply)
    seconds = 30 if code == ErrorCode.OUTCOME_UNKNOWN else SHORT
    task = submission(asked, seconds=seconds)
    error = await refusal(openai(http, peer.url).submit(task, at_once))
    assert (error.failure.code, error.perhaps_paid) == (code, True)
    assert len(peer.received) == 1


async def test_refused_connection(http: httpx.AsyncClient, asked: GenerationRequested) -> None:
    """No server listens: nothing was sent, so nothing can have been paid."""
    error = await refusal(openai(http, refusing_url()).submit(submission(asked), at_once))
    assert (error.failure.code, error.perhaps_paid) == (ErrorCode.PROVIDER_UNAVAILABLE, None)


async def test_more_than_an_image_without_announcement(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """A body that grows beyond any image is cut off, whether it was announced or not."""
    peer.says(chunked(b" " * (90 * 1024 * 1024)))
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert error.failure.code is ErrorCode.INVALID_OUTPUT
    assert "sent more than" in error.failure.detail


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(
    http: httpx.AsyncClient, peer: Peer, foreign: Peer, asked: GenerationRequested, status: int
) -> None:
    """A redirect leads to a wrong setting and nowhere else: the key stays here."""
    peer.says(answer(status, "", {"location": foreign.url}))
    foreign.says(answer(200))
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert foreign.received == []


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        (said(400, "invalid_value", param="size"), "Check: size."),
        (said(400, "invalid_value", param="data[0].size"), "Check: data[0].size."),
        (said(400, "invalid_value", param=None), None),
        (said(400, "invalid_value", param="None"), None),
        (said(400, "invalid_value", param="<script>alert(1)</script>"), None),
        (said(400, "invalid_value", param="x" * 41), None),
        (said(400, "invalid_value", param=["size"]), None),
        (answer(422, {"detail": [{"loc": ["body", "seed"], "msg": "x"}]}), "Check: seed."),
        (answer(422, {"detail": [{"loc": ["body", "size", "str"], "msg": "x"}]}), "Check: size."),
        (answer(422, {"detail": [{"loc": ["body"], "msg": "x"}]}), None),
        (answer(422, {"detail": [{"loc": ["body", "quality"], "msg": "x"}]}), None),
        (answer(422, {"detail": [{"loc": ["body", 3], "msg": "x"}]}), None),
        (answer(422, {"detail": []}), None),
        (said(500, "server_error", param="size"), None),
        (said(400, "moderation_blocked", param="prompt"), None),
    ],
)
async def test_hint_for_the_user(
    http: httpx.AsyncClient,
    peer: Peer,
    asked: GenerationRequested,
    reply: Reply,
    hint: str | None,
) -> None:
    """The user reads which field to check, if the service named a plain one, and no more."""
    peer.says(reply)
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert error.failure.hint == hint
    assert "the operator's words" not in error.failure.user_message


async def test_detail_for_the_operator(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """The operator reads status, code, message and the service's request id."""
    body = {"error": {"message": "slow down, please", "code": "slow_down"}}
    peer.says(answer(429, body, {"x-request-id": "req_123"}))
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    for part in ("429", "application/json", "[x-request-id req_123]", "slow_down slow down"):
        assert part in error.failure.detail


async def test_detail_of_a_page(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """Of a page the operator sees the kind and the beginning."""
    peer.says(html(200))
    error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
    assert "text/html" in error.failure.detail
    assert "Maintenance" in error.failure.detail


async def test_endless_message_is_cut(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """A long message does not get into history; of a megabyte the status alone is understood."""
    for length in (60_000, 1_000_000):
        peer.says(said(400, "invalid_value", message="x" * length))
        error = await refusal(openai(http, peer.url).submit(submission(asked), at_once))
        assert error.failure.code is ErrorCode.INVALID_INPUT
        assert len(error.failure.detail) <= 1_000


async def test_a_parameter_that_the_route_sets(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """A field of the user's that our settings override is ours."""
    peer.says(said(400, "invalid_value", param="size"))
    task = submission(asked, size="9x9")
    error = await refusal(openai(http, peer.url).submit(task, at_once))
    assert (error.failure.code, error.failure.hint) == (ErrorCode.MODEL_CONFIG, None)


async def test_a_message_that_quotes_the_prompt(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """What a user wrote is not the service's word: nobody may close a provider with a prompt."""
    prompt = "a sign that says: budget has been exceeded"
    peer.says(answer(400, {"error": {"message": f"cannot draw {prompt!r}"}}))
    task = submission(asked.model_copy(update={"prompt": prompt}))
    error = await refusal(openai(http, peer.url).submit(task, at_once))
    assert error.failure.code is ErrorCode.INVALID_INPUT


async def test_a_byte_order_mark(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, picture: bytes
) -> None:
    """One before the answer costs no image."""
    body = json.dumps({"data": [{"b64_json": base64.b64encode(picture).decode()}]})
    peer.says(answer(200, codecs.BOM_UTF8 + body.encode()))
    assert await openai(http, peer.url).submit(submission(asked), at_once) == picture


async def test_the_first_image_counts(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested, picture: bytes
) -> None:
    """What else is in the list does not spoil it (brainlid/langchain#368)."""
    first = {"b64_json": base64.b64encode(picture).decode()}
    peer.says(answer(200, {"data": [first, {"b64_json": None, "url": "http://x.example/b.png"}]}))
    assert await openai(http, peer.url).submit(submission(asked), at_once) == picture


async def test_a_model_that_knows_ratios_alone(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """`size_by = "aspect_ratio"`: the ratio in the place of the size (xAI)."""
    peer.says(answer(503))
    task = submission(asked)
    route = task.route.model_copy(update={"size_by": "aspect_ratio"})
    await refusal(openai(http, peer.url).submit(task.model_copy(update={"route": route}), at_once))
    [received] = peer.received
    assert received.json["aspect_ratio"] == asked.aspect_ratio
    assert "size" not in received.json


async def test_fields_that_are_left_out(
    http: httpx.AsyncClient, peer: Peer, asked: GenerationRequested
) -> None:
    """`omit` keeps a field out of the body; `output_format` then only declares the format."""
    peer.says(answer(503))
    task = submission(asked, output_format="jpeg")
    route = task.route.model_copy(update={"omit": ("size", "output_format")})
    await refusal(openai(http, peer.url).submit(task.model_copy(update={"route": route}), at_once))
    assert set(peer.received[0].json) == {"prompt", "model", "n"}
    assert route.image_format == "jpeg"


def test_phrases_blame_nobody_who_pays() -> None:
    """Words may move blame off the user, never onto them; each row says where it was seen."""
    for dialect in (OPENAI, FLUX):
        for row in dialect.phrases:
            assert TAXONOMY[row.code].kind is not ErrorKind.USER
            assert row.source
