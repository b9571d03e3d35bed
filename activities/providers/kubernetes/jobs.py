"""A model on one's own Kubernetes: one `batch/v1` Job per request.

A Job is named after its request, so that creating it again finds it: nothing is lost with a reply.
It is watched, its image is read from the store, and it can be stopped.
"""

import asyncio
import logging

from temporalio import activity

from activities.errors import ProviderError
from activities.images import MAX_IMAGE_BYTES
from activities.memory import Admit
from activities.providers.kubernetes.api import Cluster, lost
from activities.providers.kubernetes.failures import (
    ended_well,
    failure_of,
    is_outlived,
    never_starts,
)
from activities.providers.kubernetes.job_object import (
    REQUEST_ID_LABEL,
    job_name,
    job_object,
    result_key,
)
from activities.providers.kubernetes.objects import JobRef
from activities.providers.service import JobProgress
from activities.storage import ImageStore
from contracts.errors import ErrorCode
from contracts.generation import Job
from contracts.tasks import CollectTask, SubmitTask

logger = logging.getLogger(__name__)

WATCH_SECONDS = 10.0
"""How long a poll watches; a pod that cannot start is noticed between two watches."""


class KubernetesJobs:
    """One namespace. A Job that has ended stays for `ttl_seconds`, with its pod's log."""

    repeatable = True

    def __init__(
        self,
        cluster: Cluster,
        store: ImageStore,
        namespace: str,
        *,
        ttl_seconds: int = 3_600,
        poll_seconds: float = 1.0,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._namespace = namespace
        self._ttl_seconds = ttl_seconds
        self.poll_seconds = poll_seconds
        self._watch_seconds = watch_seconds
        self._outlived: set[str] = set()

    async def submit(self, task: SubmitTask, admit: Admit) -> Job:  # noqa: ARG002  # no image yet
        """Create the Job, or find it where a try before this one has created it."""
        ref = JobRef(self._namespace, job_name(task, _run_id()))
        made = job_object(task, ref, self._store.bucket, self._ttl_seconds)
        try:
            if not await self._cluster.create(ref.namespace, made):
                await self._check_ours(task, ref)
                logger.info("the Job %s was created before", ref)
        except asyncio.CancelledError:
            # It may be there. When the generation was canceled, no activity asks for it; a worker
            # that leaves or was late only hands over to a try that finds it.
            details = activity.cancellation_details()
            if details and details.cancel_requested:
                await self._remove(ref)
            raise
        return Job(id=ref.name, polling_url=str(ref), stoppable=True, free=True)

    async def poll(self, task: CollectTask) -> JobProgress:
        """Look at the Job; while it runs, watch it for some seconds."""
        ref = JobRef.of(task.job.polling_url)
        job, version = await self._cluster.look(ref)
        if job is None:
            raise lost(ref)
        if job.end is None:
            pods = await self._cluster.pods(ref)
            if is_outlived(pods):
                self._outlived.add(ref.name)
                return JobProgress(result_url=result_key(ref.name, task.route))
            hopeless = never_starts(ref, pods)
            if hopeless:
                await self._remove(ref)
                raise hopeless
            job = await self._cluster.until_end(ref, version, self._watch_seconds)
        if job is None or job.end is None:
            return JobProgress()
        if job.end.type == "Failed":
            pods = await self._cluster.pods(ref)
            if not any(map(ended_well, pods)):
                raise failure_of(ref, job.end, pods)
        return JobProgress(result_url=result_key(ref.name, task.route))

    async def fetch(self, task: CollectTask, result_url: str, admit: Admit) -> bytes:
        """Read the image from where the container put it."""
        await admit()
        data = await self._store.read(result_url, MAX_IMAGE_BYTES)
        if data is None:
            detail = f"the Job {task.job.polling_url} is complete, and there is no {result_url}"
            raise ProviderError(ErrorCode.INVALID_OUTPUT, detail)
        return data

    async def tidy(self, task: CollectTask) -> None:
        """Remove the container's copy of the image; a rule of the bucket removes what is left.

        A Job that another container keeps alive is deleted: its pod would hold the GPU.
        """
        await self._store.remove(result_key(task.job.id, task.route))
        if task.job.id in self._outlived:
            self._outlived.discard(task.job.id)
            await self._remove(JobRef.of(task.job.polling_url))

    async def stop(self, task: CollectTask) -> str:
        """Delete the Job and its pods. One that has ended is left to its time, with its log."""
        ref = JobRef.of(task.job.polling_url)
        job, _ = await self._cluster.look(ref)
        if job and job.end:
            if job.end.type == "Complete":
                await self.tidy(task)
            return f"the Job {ref} had ended ({job.end.type})"
        if job and await self._cluster.delete(ref):
            return f"the Job {ref} is deleted"
        return f"the Job {ref} was gone already"

    async def _check_ours(self, task: SubmitTask, ref: JobRef) -> None:
        found, _ = await self._cluster.look(ref)
        if found is None:
            detail = f"the Job {ref} was there, and is no more: try again"
            raise ProviderError(ErrorCode.PROVIDER_UNAVAILABLE, detail)
        whose = (found.metadata.labels or {}).get(REQUEST_ID_LABEL)
        if whose != str(task.request.request_id):
            raise ProviderError(
                ErrorCode.INTERNAL,
                f"the Job {ref} is not ours: its label {REQUEST_ID_LABEL} is {whose!r};"
                " delete it and rerun",
            )

    async def _remove(self, ref: JobRef) -> None:
        try:
            await self._cluster.delete(ref)
        except ProviderError as error:
            logger.warning("the Job %s is left until its deadline: %s", ref, error)


def _run_id() -> str:
    """Another one for a generation that was reset or started again: it gets a Job of its own."""
    return activity.info().workflow_run_id or ""
