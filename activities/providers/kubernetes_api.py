"""The Kubernetes API as far as jobs need it: bounded calls, answers of few fields, typed errors.

The client library makes paths, TLS and the token's header. Its answers are read here, raw: within
a time and a size, and into the few fields that are looked at. Every call may be made twice.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import aiohttp
import httpx
from kubernetes_asyncio.client import ApiClient, BatchV1Api, Configuration, CoreV1Api
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from activities.errors import ProviderError
from activities.http import Answer, TooLargeError
from activities.providers.errors import Dialect, Refusal, parsed, refused, text_of, unreadable
from contracts.errors import ErrorCode
from otel.correlation import outgoing_headers

CALL_SECONDS = 30.0
"""A call is a look-up or a short entry: what takes longer is an outage."""

WATCH_GRACE_SECONDS = 5.0
"""How much longer than it was told the server may hold a watch."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Kubernetes keeps no object above 1.5 MiB; ours are a tenth of that, and a list holds few."""

MAX_PODS = 5
"""A job of ours has one."""

_SENDABLE = re.compile(r"[!-~]+")


class _Kept(BaseModel):
    """A part of an object of Kubernetes; the rest of it is not ours to know."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="ignore")


class Metadata(_Kept):
    """What every object has."""

    name: str
    resource_version: str = ""
    labels: dict[str, str] | None = None


class Condition(_Kept):
    """One statement about an object; it holds when `status` is "True"."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None


class _Conditions(_Kept):
    conditions: list[Condition] | None = None


class JobObject(_Kept):
    """A Job and how it stands."""

    metadata: Metadata
    status: _Conditions = _Conditions()

    @property
    def over(self) -> Condition | None:
        """The condition that ended it, of type `Complete` or `Failed`; None while it runs."""
        return next((c for c in self.status.conditions or () if _ends(c)), None)


def _ends(condition: Condition) -> bool:
    return condition.type in {"Complete", "Failed"} and condition.status == "True"


class Waiting(_Kept):
    """Why a container does not run yet."""

    reason: str | None = None
    message: str | None = None


class Terminated(_Kept):
    """How a container ended; `message` is what it left in its termination log."""

    exit_code: int
    reason: str | None = None
    message: str | None = None


class _ContainerState(_Kept):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Kept):
    """A container of a pod."""

    name: str
    state: _ContainerState = _ContainerState()


class PodStatus(_Kept):
    """How a pod stands."""

    reason: str | None = None
    message: str | None = None
    conditions: list[Condition] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    container_statuses: list[ContainerStatus] | None = None

    @property
    def containers(self) -> list[ContainerStatus]:
        """All of them, in the order in which they start."""
        return [*(self.init_container_statuses or ()), *(self.container_statuses or ())]


class Pod(_Kept):
    """One run of a job."""

    metadata: Metadata
    status: PodStatus = PodStatus()


class _PodList(_Kept):
    items: list[Pod] | None = None


class _Event(_Kept):
    type: str
    object: dict[str, Any]


O = TypeVar("O", bound=_Kept)  # noqa: E741  # an object of Kubernetes


class Place(NamedTuple):
    """Where a job is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """`namespace/name`, as kubectl's users write it."""
        return f"{self.namespace}/{self.name}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The inverse of `str`."""
        namespace, _, name = text.partition("/")
        return cls(namespace, name)


class _RedirectedError(Exception):
    """The answer points elsewhere; the token does not go there."""


def _read_status(body: dict[str, Any]) -> Refusal:
    return Refusal(text_of(body.get("reason")), text_of(body.get("message")))


KUBERNETES = Dialect(
    name="the Kubernetes API",
    read=_read_status,
    # 400 and 422: the Job that our settings make is none. A page in the place of an answer, with
    # status 404 or 409, comes from something that stands before the API.
    statuses={
        400: ErrorCode.MODEL_CONFIG,
        413: ErrorCode.MODEL_CONFIG,
        422: ErrorCode.MODEL_CONFIG,
    },
)
KUBERNETES_POLL = KUBERNETES._replace(
    statuses={**KUBERNETES.statuses, 404: ErrorCode.PROVIDER_UNAVAILABLE}
)


class Cluster:
    """One API server and one account on it.

    Every method raises ProviderError. What may have been done without our hearing of it counts as
    answered, since all of it can be done again.
    """

    def __init__(self, api: ApiClient, token: Callable[[], str]) -> None:
        self._api = api
        self._batch: Any = BatchV1Api(api)
        self._core: Any = CoreV1Api(api)
        self._token = token

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def create(self, namespace: str, job: dict[str, Any]) -> bool:
        """Create the Job; False when one of its name exists."""
        answer = await self._ask(self._batch.create_namespaced_job, namespace, job)
        if answer.status == 409:
            return False
        self._success(answer, KUBERNETES, JobObject)
        return True

    async def find(self, place: Place) -> JobObject | None:
        """The Job, None when there is none."""
        answer = await self._ask(self._batch.read_namespaced_job, place.name, place.namespace)
        if _is_missing(answer):
            return None
        return self._success(answer, KUBERNETES_POLL, JobObject)

    async def delete(self, place: Place) -> bool:
        """Delete the Job, and its pods with it; False when there is none."""
        answer = await self._ask(
            self._batch.delete_namespaced_job,
            place.name,
            place.namespace,
            propagation_policy="Background",
        )
        if _is_missing(answer):
            return False
        if answer.status not in {200, 202}:
            raise self._refused(answer, KUBERNETES_POLL)
        return True

    async def pods(self, place: Place) -> list[Pod]:
        """The Job's pods."""
        for label in ("batch.kubernetes.io/job-name", "job-name"):  # the second before 1.27
            answer = await self._ask(
                self._core.list_namespaced_pod,
                place.namespace,
                label_selector=f"{label}={place.name}",
                limit=MAX_PODS,
            )
            pods = self._success(answer, KUBERNETES_POLL, _PodList).items
            if pods:
                return pods
        return []

    async def watch(self, place: Place, job: JobObject, seconds: float) -> JobObject | None:
        """Wait for the end of `job`, from the version that is known; None when it runs on.

        A watch that is cut, or whose version is too old, says nothing: look again. Raises
        ProviderError with JOB_LOST when the Job is deleted.
        """
        with suppress(TimeoutError, TooLargeError, aiohttp.ClientError, OSError, ValidationError):
            async with asyncio.timeout(seconds + WATCH_GRACE_SECONDS):
                return await self._watch(place, job, seconds)
        return None

    async def _watch(self, place: Place, job: JobObject, seconds: float) -> JobObject | None:
        response = await self._batch.list_namespaced_job(
            place.namespace,
            watch=True,
            field_selector=f"metadata.name={place.name}",
            resource_version=job.metadata.resource_version,
            timeout_seconds=max(round(seconds), 1),
            _preload_content=False,
        )
        async with response:
            if response.status == 410:
                return None
            if response.status != 200:
                raise self._refused(await _answer(response), KUBERNETES_POLL)
            async for line in _lines(response.content):
                event = _Event.model_validate_json(line)
                if event.type in {"ERROR", "BOOKMARK"}:
                    return None  # a Status: most likely that the version is too old
                found = JobObject.model_validate(event.object)
                if found.over:
                    return found
                if event.type == "DELETED":
                    raise lost(place)
        return None

    async def _ask(self, operation: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Answer:
        async with self._translated(), asyncio.timeout(CALL_SECONDS):
            async with await operation(*args, **more, _preload_content=False) as response:
                return await _answer(response)

    def _success(self, answer: Answer, dialect: Dialect, model: type[O]) -> O:
        if answer.status not in {200, 201, 202}:
            raise self._refused(answer, dialect)
        try:
            return model.model_validate_json(answer.body)
        except ValidationError:
            raise unreadable(answer, dialect, f"no {model.__name__}") from None
