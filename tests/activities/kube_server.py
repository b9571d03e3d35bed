"""A Kubernetes API server for Jobs, as far as a client can see it, over real HTTP.

It keeps versions, answers with Status objects, streams watches, and forgets old versions. What the
kubelet does to a Job's pod a test says, step by step; each step is a new version.
"""

import asyncio
import copy
import json
import re
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Object = dict[str, Any]

TOKEN = "kube-token-0123456789abcdefghijkl"
NAMESPACE = "images"
_DNS = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def status(code: int, reason: str, message: str = "") -> web.Response:
    """A Status object, as every refusal of the API server is one."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message or reason,
        "reason": reason,
        "code": code,
    }
    return web.json_response(body, status=code)


class Kube:
    """The cluster: its Jobs, its pods, and what happened to them."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens = {TOKEN}
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.calls: list[str] = []
        """Method, path, and `watch` where it is one."""
        self.headers: list[dict[str, str]] = []
        self.deletions: list[str] = []
        """The propagation policies that were asked for."""
        self.next_answers: list[Callable[[], web.StreamResponse]] = []
        """What is answered in the place of the next answers."""
        self.lose_next_reply = False
        self.hold_next_reply = asyncio.Event()
        """Cleared, the next reply is held back until it is set; `held` says that one is."""
        self.hold_next_reply.set()
        self.held = asyncio.Event()
        self.cut_next_watch = False
        self.refuse_next_watch = False
        self.forbidden: set[str] = set()
        """Methods that the account may not use."""
        self.lacking: set[str] = set()
        """Rights that it says the account has not, such as `watch jobs`."""
        self.on_created: Callable[[Object], None] = lambda _: None
        self.watching = asyncio.Event()
        self._version = 1
        self._oldest = 0
        self._log: list[tuple[int, str, Object]] = []
        self._changed = asyncio.Condition()

    # What a test does to it

    async def step(self, name: str, *conditions: tuple[str, str], **pod: Any) -> None:
        """Give the Job these conditions (type, reason), and its pod this status."""
        job = self.jobs[name]
        if pod:
            self._pod(name)["status"] |= pod
        if conditions:
            job["status"]["conditions"] = [
                {"type": kind, "status": "True", "reason": reason, "message": f"because {reason}"}
                for kind, reason in conditions
            ]
        await self._record("MODIFIED", job)

    async def completes(self, name: str) -> None:
        """The pod has ended well."""
        await self.step(name, ("SuccessCriteriaMet", "Met"), ("Complete", "CompletionsReached"))

    async def fails(self, name: str, code: int, *, why: str = "Error", message: str = "") -> None:
        """The container has ended with `code`."""
        ended = {"exitCode": code, "reason": why, "message": message}
        containers = [{"name": "generate", "state": {"terminated": ended}}]
        await self.step(
            name, ("Failed", "BackoffLimitExceeded"), phase="Failed", containerStatuses=containers
        )

    async def waits(self, name: str, reason: str) -> None:
        """The container does not start."""
        waiting = {"reason": reason, "message": f'Back-off: "{reason}"'}
        containers = [{"name": "generate", "state": {"waiting": waiting}}]
        await self.step(name, phase="Pending", containerStatuses=containers)

    async def vanishes(self, name: str) -> None:
        """Somebody deletes the Job."""
        job = self.jobs.pop(name)
        self.pods.pop(name, None)
        await self._record("DELETED", job)

    def forgets(self) -> None:
        """Compaction: no watch from a version of before."""
        self._version += 1
        self._oldest = self._version

    def foreign(self, name: str) -> None:
        """A Job of this name that somebody else created."""
        self._version += 1
        self.jobs[name] = {
            "kind": "Job",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "status": {},
        }

    # What it does by itself

    def _pod(self, name: str) -> Object:
        made: Object = {
            "metadata": {"name": f"{name}-x7k2p", "labels": {"job-name": name}},
            "status": {"phase": "Pending"},
        }
        return self.pods.setdefault(name, made)

    async def _record(self, kind: str, job: Object) -> None:
        self._version += 1
        job["metadata"]["resourceVersion"] = str(self._version)
        async with self._changed:
            self._log.append((self._version, kind, copy.deepcopy(job)))
            self._changed.notify_all()

    @web.middleware
    async def _check(self, request: web.Request, handler: Any) -> web.StreamResponse:
        watch = " watch" if request.query.get("watch") else ""
        self.calls.append(f"{request.method} {request.path}{watch}")
        self.headers.append(dict(request.headers))
        if self.next_answers:
            return self.next_answers.pop(0)()
        if request.headers.get("Authorization") not in {f"Bearer {t}" for t in self.tokens}:
            return status(401, "Unauthorized")
        if request.method in self.forbidden:
            return status(403, "Forbidden")
        answer: web.StreamResponse = await handler(request)
        if not self.hold_next_reply.is_set():
            self.held.set()
            await self.hold_next_reply.wait()
        if self.lose_next_reply and request.transport:
            self.lose_next_reply = False
            request.transport.abort()
        return answer

    async def _create(self, request: web.Request) -> web.Response:
        namespace, job = request.match_info["namespace"], await request.json()
        if namespace != NAMESPACE:
            return status(404, "NotFound", f'namespaces "{namespace}" not found')
        name, spec = job["metadata"]["name"], job["spec"]
        container = spec["template"]["spec"]["containers"][0]
        if not _DNS.fullmatch(name) or len(name) > 63 or not container.get("image", "").strip():
            return status(422, "Invalid", f'Job.batch "{name}" is invalid')
        if name in self.jobs:
            return status(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
        job["metadata"] |= {"uid": str(uuid.uuid4())}
        job["status"] = {}
        self.jobs[name] = job
        await self._record("ADDED", job)
        self.on_created(job)
        return web.json_response(job, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.jobs:
            return status(404, "NotFound", f'jobs.batch "{name}" not found')
        self.deletions.append(request.query.get("propagationPolicy", ""))
        await self.vanishes(name)
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _pods(self, request: web.Request) -> web.Response:
        label, _, value = request.query.get("labelSelector", "").partition("=")
        found = [p for p in self.pods.values() if p["metadata"]["labels"].get(label) == value]
        return web.json_response({"kind": "PodList", "items": found or None})

    async def _jobs(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        if not request.query.get("watch"):
            items = [j for each, j in self.jobs.items() if name in {"", each}]
            meta = {"resourceVersion": str(self._version)}
            return web.json_response({"kind": "JobList", "metadata": meta, "items": items})
        since = int(request.query["resourceVersion"])
        if since < self._oldest or self.refuse_next_watch:
            self.refuse_next_watch = False
            return status(410, "Expired", "too old resource version")
        stream = web.StreamResponse(headers={"content-type": "application/json"})
        await stream.prepare(request)
        if self.cut_next_watch and request.transport:
            self.cut_next_watch = False
            await stream.write(b'{"type": "MODIF')
            request.transport.abort()
            return stream
        await stream.write(_line("BOOKMARK", {"metadata": {"resourceVersion": str(since)}}))
        self.watching.set()
        try:
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                await self._stream(stream, name, since)
        except TimeoutError:
            pass
        finally:
            self.watching.clear()
        return stream

    async def _stream(self, stream: web.StreamResponse, name: str, since: int) -> None:
        while True:
            async with self._changed:
                while self._version <= since:
                    await self._changed.wait()
                news = [each for each in self._log if each[0] > since]
                since = self._version
            if since == self._oldest:
                gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
                await stream.write(_line("ERROR", gone))
                return
            for _, kind, job in news:
                if job["metadata"]["name"] == name:
                    await stream.write(_line(kind, job))

    async def _review(self, request: web.Request) -> web.Response:
        wanted = (await request.json())["spec"]["resourceAttributes"]
        right = f"{wanted['verb']} {wanted['resource']}"
        allowed = wanted["namespace"] == NAMESPACE and right not in self.lacking
        return web.json_response({"status": {"allowed": allowed}}, status=201)

    async def wake(self) -> None:
        """Let the watches see what `forgets` did."""
        async with self._changed:
            self._changed.notify_all()

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application(middlewares=[self._check])
        jobs = "/apis/batch/v1/namespaces/{namespace}/jobs"
        app.router.add_post(jobs, self._create)
        app.router.add_get(jobs, self._jobs)
        app.router.add_delete(jobs + "/{name}", self._delete)
        review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        app.router.add_post(review, self._review)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods", self._pods)
        return app


def _line(kind: str, thing: Object) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


@asynccontextmanager
async def kube_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[Kube]:
    """A cluster on a free port of loopback."""
    kube = Kube()
    runner = web.AppRunner(kube.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    kube.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield kube
    finally:
        await runner.cleanup()
