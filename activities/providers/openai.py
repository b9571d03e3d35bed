"""OpenAI Images, and every server that speaks it (vLLM-Omni, SGLang, LocalAI, a gateway).

Synchronous and without an idempotency key: a reply lost after the request was sent may have been
billed. A link in its answer is fetched from the server's own host, or from those of `result_hosts`;
elsewhere the server must be asked for bytes: `response_format = "b64_json"` among the route's
parameters. `base_url` is the server's root, with or without `/v1`.
"""

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import httpx
from pydantic import BaseModel, FailFast, Field, SecretStr, ValidationError

from activities.errors import ProviderError
from activities.images import wanted_by
from activities.memory import Admit
from activities.providers.errors import error_of, refused, translated, unreadable
from activities.providers.kind import LinkSettings, Parts, ProviderKind
from activities.providers.links import LinkError, Links, result_links
from activities.providers.openai_dialect import DIFFUSION_FIELDS, OPENAI, OPENAI_LINK
from activities.providers.probing import LookUp, models_listed, probe_by_look_up
from contracts.errors import ErrorCode
from contracts.events import RequestField
from contracts.provider_health import Probed
from contracts.tasks import SubmitTask
from peers.base64_texts import Base64Texts
from peers.http import Answer, call, parsed
from peers.json_bounds import JsonBoundsError, validated
from peers.own_headers import HeaderTable

AROUND_IMAGE_BYTES = 1024 * 1024
"""For the JSON around an image in base64."""

LEAST_LINK_SECONDS = 10.0
"""For fetching the image behind a link, however long the server took to make it."""

KeyHeader = Literal["Authorization", "api-key"]


class OpenAISettings(LinkSettings):
    """One server that speaks OpenAI Images, and a key for it."""

    takes_query = True  # Azure's api-version

    kind: Literal["openai"]
    key_header: KeyHeader = "Authorization"
    """How the key is sent: as a Bearer token, or alone in `api-key` (Azure)."""
    headers: HeaderTable = Field(default_factory=dict)
    """Sent with every call below `base_url`, beside the key's own; they win over ours."""
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
    b64_json: str | None = None
    """Its number in `Base64Texts.found`."""
    url: str | None = None
    respect_moderation: bool | None = None
    """xAI: false when the image was made and kept back. vercel/ai#19168"""


class _Reply(BaseModel):
    data: Annotated[list[_Image], FailFast()]  # not a thousand texts on what is wrong


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
        links: Links,
        diffusion_fields: bool = False,
        key_header: KeyHeader = "Authorization",
    ) -> None:
        self._client = client
        self._links = links
        self._diffusion_fields = diffusion_fields
        self._url = below(base_url, "images/generations")
        self._key = api_key.get_secret_value()
        self._key_header = key_header

    async def submit(self, task: SubmitTask, admit: Admit) -> bytes:
        """Generate, wait for the reply, and take the image out of it."""
        async with translated(OPENAI, self._key):
            most_bytes = wanted_by(task).most_bytes
            images = Base64Texts("b64_json", most_bytes, AROUND_IMAGE_BYTES)
            began = asyncio.get_running_loop().time()
            answer = await call(
                self._client,
                "POST",
                self._url,
                timeout_seconds=task.route.timeout_seconds,
                max_bytes=most_bytes * 4 // 3 + AROUND_IMAGE_BYTES,
                headers={
                    **key_headers(self._key_header, self._key),
                    "Content-Type": "application/json",
                },
                content=_body(task, diffusion_fields=self._diffusion_fields),
                before_body=admit,
                holder=images,
            )
            image = _image_in(answer, images, task)
            if isinstance(image, bytes):
                return image
            left = task.route.timeout_seconds - (asyncio.get_running_loop().time() - began)
            try:
                return await self._linked(image.url, max(left, LEAST_LINK_SECONDS), most_bytes)
            except Exception as error:
                found = error_of(error, OPENAI_LINK)
                found.perhaps_paid = True  # it was made, whatever became of the link
                if found is error:
                    raise
                raise found from error

    async def _linked(self, url: str, seconds: float, max_bytes: int) -> bytes:
        """The image behind a link, which a server may answer with; without the key."""
        try:
            answer = await self._links.get(url, timeout_seconds=seconds, max_bytes=max_bytes)
        except LinkError as error:
            raise ProviderError(
                error.code,
                f'{OPENAI_LINK.name} {error}; or set response_format = "b64_json" among the'
                " route's parameters",
            ) from None
        if answer.status != 200:
            raise refused(answer, OPENAI_LINK)
        return answer.body


def _build(settings: OpenAISettings, parts: Parts) -> OpenAIImages:
    return OpenAIImages(
        parts.http,
        settings.base_url,
        settings.api_key,
        links=result_links(settings, parts.http, parts.public),
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
        dialect=OPENAI,
        calls={images: f"check providers.{name}.base_url"} if models else {},
    )
    return await probe_by_look_up(http, name, settings.base_url, settings.api_key, look_up)


def _carries(settings: OpenAISettings) -> Mapping[RequestField, str]:
    return DIFFUSION_FIELDS if settings.diffusion_fields else {}


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
        fields |= {name: asked[field] for field, name in DIFFUSION_FIELDS.items()}
    fields |= task.route.parameters
    kept = {k: v for k, v in fields.items() if v is not None and k not in task.route.omit}
    return json.dumps(kept).encode()


def _image_in(answer: Answer, images: Base64Texts, task: SubmitTask) -> bytes | _Link:
    if answer.status != 200:
        raise refused(answer, OPENAI, task)
    try:
        reply = validated(_Reply, answer.json_text)
    except JsonBoundsError as error:
        raise unreadable(answer, OPENAI, str(error)) from None
    except ValidationError as error:
        body = parsed(answer)
        if isinstance(body, dict) and "error" in body:  # an error under status 200
            raise refused(answer, OPENAI, task) from None
        faults = error.errors(include_url=False, include_input=False)
        why = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in faults)
        raise unreadable(answer, OPENAI, why) from None
    # What it was asked for and paid for once will not be another time: it is not asked again.
    first = next(iter(reply.data), _Image())
    if first.respect_moderation is False:
        raise ProviderError(
            ErrorCode.POLICY_OUTPUT,
            f"{OPENAI.name} has kept its image back (respect_moderation is false)",
            perhaps_paid=True,
        )
    image = _numbered(images, first.b64_json)
    if image:
        return image
    if first.url:
        return _Link(first.url)
    if image is not None:
        return image  # of no bytes, which is no image
    empty = unreadable(answer, OPENAI, "there is no image in data; moderated in silence?")
    empty.final = True
    raise empty


def _numbered(images: Base64Texts, number: str | None) -> bytes | None:
    """The image that the JSON has this number for; None where there is none.

    Without an image behind it, it is the service's own text, under a name with escapes.
    """
    if number is None:
        return None
    if number.isdecimal() and int(number[:9]) < len(images.found):
        return images.found[int(number[:9])].getvalue()
    return b""
