"""What is asked of a Kubernetes cluster: Jobs, their pods, and what the account may do."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

import aiohttp
from kubernetes_asyncio.client import AuthorizationV1Api, BatchV1Api, CoreV1Api
from pydantic import ValidationError

from activities.errors import ProviderError
from activities.providers.errors import Dialect, Refusal, phrase, refused, text_of, unreadable
from activities.providers.kubernetes.connection import NAME, Connection, answer_of, lines_of
from activities.providers.kubernetes.objects import (
    AccessReview,
    JobList,
    JobObject,
    JobRef,
    Part,
    Pod,
    PodList,
    WatchEvent,
)
from contracts.errors import ErrorCode
from peers.bodies import BodyError
from peers.http import Answer, parsed
from peers.json_bounds import MAX_LISTED_ELEMENTS, JsonBoundsError, validated

WATCH_GRACE_SECONDS = 5.0
"""How much longer than it was asked to a server may hold a watch."""

MAX_PODS = 5

P = TypeVar("P", bound=Part)


class JobSnapshot(NamedTuple):
    """What a look-up saw: the Job, None when there is none, and the cluster's version by then."""

    job: JobObject | None
    version: str


class Permission(NamedTuple):
    """Something that an account may have to be allowed in a namespace."""

    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        """`create jobs`."""
        return f"{self.verb} {self.resource}"


PERMISSIONS = (
    *(Permission(verb, "batch", "jobs") for verb in ("create", "list", "watch", "delete")),
    Permission("list", "", "pods"),
)
"""What the methods of `Cluster` need."""


def _read_status(body: dict[str, Any]) -> Refusal:
    return Refusal(text_of(body.get("reason")), text_of(body.get("message")))


_ENTRY = Dialect(
    name=NAME,
    read=_read_status,
    # What the settings make of a Job is none, or the namespace is none.
    statuses=dict.fromkeys((400, 404, 413, 422), ErrorCode.MODEL_CONFIG),
    phrases=(
        # A ResourceQuota that is full: a Forbidden that passes, when a Job ends.
        phrase("exceeded quota", ErrorCode.RATE_LIMITED, "joyrex2001/kubedock#87"),
    ),
)
# A list has no 404: it comes from a proxy before the API, and the Job may well live.
_LOOK_UP = _ENTRY._replace(statuses={**_ENTRY.statuses, 404: ErrorCode.PROVIDER_UNAVAILABLE})


class Cluster:
    """The cluster at the other end of a connection. Every method raises ProviderError."""

    def __init__(
        self, connection: Connection, watch_grace_seconds: float = WATCH_GRACE_SECONDS
    ) -> None:
        self._connection = connection
        self._watch_grace_seconds = watch_grace_seconds
        self._batch = BatchV1Api(connection.api)
        self._core = CoreV1Api(connection.api)
        self._authorization = AuthorizationV1Api(connection.api)

    async def create(self, namespace: str, job: dict[str, Any]) -> bool:
        """Create the Job; False when one of its name exists."""
        call = self._batch.create_namespaced_job
        return await self._connection.ask(_created, call, namespace, job)

    async def look(self, ref: JobRef) -> JobSnapshot:
        """The Job as it is now.

        A list of one: its version is today's. The Job's own may be too old to be watched from.
        """
        call = partial(self._batch.list_namespaced_job, field_selector=_named(ref))
        return await self._connection.ask(_seen, call, ref.namespace)

    async def delete(self, ref: JobRef) -> bool:
        """Delete the Job and its pods; False when there is none."""
        call = partial(self._batch.delete_namespaced_job, propagation_policy="Background")
        return await self._connection.ask(_deleted, call, ref.name, ref.namespace)

    async def pods(self, ref: JobRef) -> list[Pod]:
        """The Job's pods."""
        for label in ("batch.kubernetes.io/job-name", "job-name"):  # the latter before 1.27
            selected = f"{label}={ref.name}"
            call = partial(self._core.list_namespaced_pod, label_selector=selected, limit=MAX_PODS)
            pods = await self._connection.ask(_listed, call, ref.namespace)
            if pods:
                return pods
        return []

    async def may(self, namespace: str, permission: Permission) -> bool:
        """Whether the account has a permission there."""
        wanted = {**permission._asdict(), "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted},
        }
        call = self._authorization.create_self_subject_access_review
        return await self._connection.ask(_allowed, call, review)

    async def until_end(self, ref: JobRef, version: str, seconds: float) -> JobObject | None:
        """Watch the Job from a version on; None when it has not ended.

        None also when the watch was cut or the version is too old: look again. Raises
        ProviderError with JOB_LOST when the Job is deleted.
        """
        async with self._connection.translated():
            with suppress(
                TimeoutError, BodyError, aiohttp.ClientError, ValidationError, JsonBoundsError
            ):
                async with asyncio.timeout(seconds + self._watch_grace_seconds):
                    return await self._watch(ref, version, seconds)
        return None

    async def _watch(self, ref: JobRef, version: str, seconds: float) -> JobObject | None:
        watch = await self._batch.list_namespaced_job(
            ref.namespace,
            watch=True,
            field_selector=_named(ref),
            resource_version=version,
            timeout_seconds=max(round(seconds), 1),
            _preload_content=False,
        )
        async with watch as response:
            if response.status not in {200, 410}:
                raise refused(await answer_of(response), _LOOK_UP)
            async for line in lines_of(response):
                event = validated(WatchEvent, line, MAX_LISTED_ELEMENTS)
                if event.type == "ERROR":
                    return None
                if event.type == "BOOKMARK":
                    continue
                seen = JobObject.model_validate(event.object)
                if seen.end:  # also of a Job that was deleted because it has ended
                    return seen
                if event.type == "DELETED":
                    raise lost(ref)
        return None


def lost(ref: JobRef) -> ProviderError:
    """The Job was there and is no more."""
    return ProviderError(ErrorCode.JOB_LOST, f"the Job {ref} is gone", final=True)


def _named(ref: JobRef) -> str:
    return f"metadata.name={ref.name}"


def _created(answer: Answer) -> bool:
    return answer.status != 409 and bool(_success(answer, _ENTRY, JobObject))


def _seen(answer: Answer) -> JobSnapshot:
    found = _success(answer, _LOOK_UP, JobList)
    return JobSnapshot(next(iter(found.items or ()), None), found.metadata.resource_version)


def _deleted(answer: Answer) -> bool:
    body = parsed(answer)  # the Job as it was, or a Status
    if answer.status == 404 and isinstance(body, dict) and body.get("reason") == "NotFound":
        return False
    if answer.status not in {200, 202}:
        raise refused(answer, _LOOK_UP)
    return True


def _listed(answer: Answer) -> list[Pod]:
    return _success(answer, _LOOK_UP, PodList).items or []


def _allowed(answer: Answer) -> bool:
    return _success(answer, _ENTRY, AccessReview).status.allowed


def _success(answer: Answer, dialect: Dialect, model: type[P]) -> P:
    if answer.status not in {200, 201, 202}:
        raise refused(answer, dialect)
    try:
        return validated(model, answer.body, MAX_LISTED_ELEMENTS)
    except ValueError:
        raise unreadable(answer, dialect, f"no {model.__name__}") from None
