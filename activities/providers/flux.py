"""FLUX (Black Forest Labs): submit, poll the returned `polling_url`, fetch the result at once.

`base_url` is `https://api.bfl.ai`; the route is `{base_url}/v1/{model}`. No cancel and no
idempotency key, but a job has an id: it is polled, never submitted again.
"""

import json
import re
from collections.abc import Collection
from typing import Annotated, Any, Literal

import httpx
from pydantic import BaseModel, Field, SecretStr

from activities.errors import ProviderError
from activities.images import wanted_by
from activities.memory import Admit
from activities.providers.errors import (
    Dialect,
    phrase,
    read_detail,
    refused,
    translated,
    unreadable,
)
from activities.providers.kind import LinkSettings, Parts, ProviderKind
from activities.providers.links import LinkError, Links, result_links
from activities.providers.probing import LookUp, probe_by_look_up
from activities.providers.service import JobProgress
from contracts.errors import ErrorCode
from contracts.events import RequestField
from contracts.generation import Job, Route
from contracts.provider_health import Probed
from contracts.tasks import CollectTask, SubmitTask
from peers.http import Answer, call, parsed
from peers.json_bounds import validated
from peers.own_headers import HeaderTable
from peers.setting_types import HostRule

MAX_REPLY_BYTES = 1024 * 1024
BFL_DOMAIN, BELOW_BFL = ".bfl.ai", "*.bfl.ai"
POLL_TIMEOUT_SECONDS = 30.0
"""A poll is a look-up: what takes longer is an outage."""


FLUX = Dialect(
    name="the image service",
    read=read_detail,
    phrases=(
        phrase(
            r"content policy|moderat|flagged",
            ErrorCode.REFUSED,
            "as OpenAI's dialect; a 403 of FLUX is else the key's",
        ),
    ),
    users_fields=frozenset({"prompt", "width", "height", "aspect_ratio", "seed"}),
)
# A poll asks for nothing that the user or our settings could have got wrong.
FLUX_POLL = FLUX._replace(
    statuses={404: ErrorCode.JOB_LOST}
    | dict.fromkeys((301, 302, 307, 308, 400, 413, 422), ErrorCode.PROVIDER_UNAVAILABLE)
)
FLUX_RESULT = Dialect(
    name="the image service's result",
    read=read_detail,
    quoted=False,
    # Whatever a store answers to a link that is over; nobody's request is at fault.
    statuses=dict.fromkeys((400, 401, 403, 404, 410, 413, 422), ErrorCode.RESULT_EXPIRED),
)

_FINAL_STATUSES = {
    "Error": ErrorCode.PROVIDER_UNAVAILABLE,
    "Failed": ErrorCode.PROVIDER_UNAVAILABLE,
    "Request Moderated": ErrorCode.POLICY_INPUT,
    "Content Moderated": ErrorCode.POLICY_OUTPUT,
    "Task not found": ErrorCode.JOB_LOST,
}

_MADE_FIRST = frozenset({ErrorCode.POLICY_OUTPUT, ErrorCode.JOB_LOST})
"""Ends of a job that may have been paid for; of the others the service says that it has made
nothing."""


_RATIO_MODELS = re.compile(r"flux-pro-1\.1-ultra|flux-kontext-\w+")
"""Models that ignore width and height. comfyanonymous/ComfyUI, comfy_api_nodes/nodes_bfl.py"""


class FluxSettings(LinkSettings):
    """One account of a service that speaks the FLUX protocol."""

    kind: Literal["flux"]
    poll_seconds: Annotated[float, Field(gt=0)] = 1.0
    """Pause between two polls of a job."""
    headers: HeaderTable = Field(default_factory=dict)
    """Sent with every call below `base_url`, beside the key's own; not to other hosts."""
    job_hosts: tuple[HostRule, ...] = ()
    """Hosts beside `base_url`'s own and its siblings to which the key may be sent for polling."""
    result_hosts: tuple[HostRule, ...] = (BELOW_BFL,)
    """BFL delivers from delivery-us1.bfl.ai, delivery-eu1.bfl.ai. docs.bfl.ai, "Image Delivery"."""


class _Accepted(BaseModel):
    id: str = Field(min_length=1, max_length=200)
    polling_url: str = Field(max_length=2_048)


class _Result(BaseModel):
    sample: str


class _Status(BaseModel):
    status: str
    result: _Result | None = None
    progress: float | None = None
    details: Any = None


class Flux:
    """One account. `jobs` are the links that are polled with the key, `results` the images'."""

    repeatable = False

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str,
        api_key: SecretStr,
        poll_seconds: float = 1.0,
        *,
        jobs: Links,
        results: Links,
        poll_timeout_seconds: float = POLL_TIMEOUT_SECONDS,
    ) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._key = api_key.get_secret_value()
        self.poll_seconds = poll_seconds
        self._jobs = jobs
        self._results = results
        self._poll_timeout_seconds = poll_timeout_seconds

    async def submit(self, task: SubmitTask, admit: Admit) -> Job:  # noqa: ARG002  # no image yet
        """Place the job: the paid call."""
        async with translated(FLUX, self._key):
            answer = await call(
                self._client,
                "POST",
                f"{self._base_url}/v1/{task.route.model}",
                timeout_seconds=task.route.timeout_seconds,
                max_bytes=MAX_REPLY_BYTES,
                headers={"x-key": self._key, "Content-Type": "application/json"},
                content=_body(task),
            )
            if answer.status != 200:
                raise refused(answer, FLUX, task)
            try:
                accepted = validated(_Accepted, answer.json_text)
            except ValueError:
                raise unreadable(answer, FLUX, "neither id nor polling_url") from None
            self._check_link(accepted.polling_url)
            return Job(id=accepted.id, polling_url=accepted.polling_url)

    async def poll(self, task: CollectTask) -> JobProgress:
        """Ask the job's own URL once."""
        self._check_link(task.job.polling_url)
        async with translated(FLUX_POLL, self._key):
            answer = await self._jobs.get(
                task.job.polling_url,
                timeout_seconds=self._poll_timeout_seconds,
                max_bytes=MAX_REPLY_BYTES,
                headers={"x-key": self._key},
            )
            return _progress(answer)

    async def fetch(self, task: CollectTask, result_url: str, admit: Admit) -> bytes:
        """Copy the image; the link lives for about ten minutes and gets no key."""
        async with translated(FLUX_RESULT, self._key):
            try:
                answer = await self._results.get(
                    result_url,
                    timeout_seconds=task.route.timeout_seconds,
                    max_bytes=wanted_by(task).most_bytes,
                    before_body=admit,
                )
            except LinkError as error:
                raise _not_followed(FLUX_RESULT.name, error) from None
            if answer.status != 200:
                raise refused(answer, FLUX_RESULT)
            return answer.body

    async def tidy(self, task: CollectTask) -> None:
        """Nothing to do: the service deletes its results by itself."""

    async def stop(self, task: CollectTask) -> str:
        """Nothing to do: the job ends by itself, and costs what it costs."""
        return f"FLUX has no cancel; job {task.job.id} runs on"

    def _check_link(self, url: str) -> None:
        """Refuse to send the key elsewhere than to the service: raises ProviderError."""
        try:
            self._jobs.check(url)
        except LinkError as error:
            raise _not_followed("the image service's polling_url", error) from None


def job_links(settings: FluxSettings, named: httpx.AsyncClient, public: httpx.AsyncClient) -> Links:
    """Where jobs may be polled."""
    # api.bfl.ai answers with api.us1.bfl.ai. Elsewhere a shared domain is no sign of one owner.
    ours = httpx.URL(settings.base_url).host.endswith(BFL_DOMAIN)
    return Links(
        settings.base_url,
        named,
        public,
        (*settings.job_hosts, BELOW_BFL) if ours else settings.job_hosts,
        setting="job_hosts",
        private=settings.private_links,
    )


def _not_followed(what: str, error: LinkError) -> ProviderError:
    return ProviderError(error.code, f"{what} {error}", perhaps_paid=True)


def _build(settings: FluxSettings, parts: Parts) -> Flux:
    return Flux(
        parts.http,
        settings.base_url,
        settings.api_key,
        settings.poll_seconds,
        jobs=job_links(settings, parts.http, parts.public),
        results=result_links(settings, parts.http, parts.public),
    )


async def _probe(
    name: str, settings: FluxSettings, http: httpx.AsyncClient, models: Collection[str]
) -> Probed:
    root = f"{settings.base_url.rstrip('/')}/v1"
    fix = f"check providers.{name}.base_url, and the model of the routes to {name}"
    look_up = LookUp(
        f"{root}/credits",
        {"x-key": settings.api_key.get_secret_value()},
        _without_credits,
        calls={f"{root}/{model}": fix for model in models},
    )
    return await probe_by_look_up(http, name, settings.base_url, settings.api_key, look_up)


def _without_credits(answer: Answer) -> tuple[str, str] | None:
    body = parsed(answer)
    left = body.get("credits") if isinstance(body, dict) else None
    if isinstance(left, int | float) and not isinstance(left, bool) and left <= 0:
        return f"; the account has {left:g} credits", "top up the account"
    return None


def _check_route(route: Route) -> None:
    if route.size_by == "pixels" and _RATIO_MODELS.fullmatch(route.model):
        raise ValueError(
            f'{route.model} knows only an aspect ratio: set size_by = "aspect_ratio" on its route'
        )


FLUX_KIND = ProviderKind(
    name="flux",
    settings=FluxSettings,
    build=_build,
    probe=_probe,
    has_jobs=True,
    carries=lambda _: {RequestField.SEED: "seed"},
    check_route=_check_route,
)


def _body(task: SubmitTask) -> bytes:
    width, height = task.request.size
    pixels = {"width": width, "height": height}
    by_ratio = task.route.size_by == "aspect_ratio"
    fields: dict[str, Any] = {
        "prompt": task.request.prompt,
        **({"aspect_ratio": task.request.aspect_ratio} if by_ratio else pixels),
        "seed": task.request.seed,
        "output_format": "png",
        **task.route.parameters,
    }
    kept = {k: v for k, v in fields.items() if v is not None and k not in task.route.omit}
    return json.dumps(kept).encode()


def _progress(answer: Answer) -> JobProgress:
    body = parsed(answer)
    said = body.get("status") if isinstance(body, dict) else None
    final = _FINAL_STATUSES.get(said) if isinstance(said, str) else None
    if final:  # also under a 404: "Task not found"
        raise ProviderError(
            final,
            f"the image service says of the job: {said} {_details(body)}",
            final=True,
            perhaps_paid=final in _MADE_FIRST,
        )
    if answer.status != 200:
        raise refused(answer, FLUX_POLL)
    try:
        status = validated(_Status, answer.json_text)
    except ValueError:
        raise unreadable(answer, FLUX_POLL, "no status") from None
    if status.status == "Ready":
        if status.result is None:
            raise unreadable(answer, FLUX_POLL, "Ready without a result")
        return JobProgress(result_url=status.result.sample)
    return JobProgress(percent=_percent(status.progress))


def _percent(progress: float | None) -> int | None:
    # (u) documented without a range: 0 to 1 and 0 to 100 are both understood.
    if progress is None or not 0 <= progress <= 100:
        return None
    return round(progress * 100 if progress <= 1 else progress)


def _details(body: dict[str, Any]) -> str:
    details = body.get("details")
    return json.dumps(details)[:300] if details else ""
