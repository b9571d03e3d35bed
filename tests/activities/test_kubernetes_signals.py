"""Every signal of Kubernetes over real HTTP: what the API refuses, how a Job can end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from activities.errors import ProviderError
from activities.providers.kubernetes.connection import CALL_SECONDS
from activities.providers.kubernetes.jobs import KubernetesJobs
from activities.providers.service import JobProgress
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import Job
from contracts.tasks import CollectTask
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
from tests.activities.kube_calls import jobs_at, submission, submitted, waiting
from tests.activities.kube_server import NAMESPACE, TOKEN, Kube
from tests.activities.provider_calls import SHORT, refusal
from workers.clients import Clients


@pytest.fixture
async def service(kube: Kube, clients: Clients) -> AsyncIterator[KubernetesJobs]:
    """The adapter under test."""
    async with jobs_at(kube.url, clients) as opened:
        yield opened


def says(code: int, reason: str, headers: dict[str, str] | None = None) -> Reply:
    """A Status object."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": f"no: {TOKEN}"}
    return answer(code, {**body, "code": code}, headers)


REFUSED: dict[str, tuple[Reply, str]] = {
    "400": (says(400, "BadRequest"), "MODEL_CONFIG"),
    "401": (says(401, "Unauthorized"), "AUTH_CONFIG"),
    "403": (says(403, "Forbidden"), "AUTH_CONFIG"),
    # joyrex2001/kubedock#87, tektoncd/pipeline#4092
    "403 quota": (
        answer(
            403,
            {
                "kind": "Status",
                "reason": "Forbidden",
                "message": 'jobs.batch "x" is forbidden: exceeded quota: q, requested: '
                "count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5",
            },
            {"retry-after": "3"},
        ),
        "RATE_LIMITED",
    ),
    "404 namespace": (says(404, "NotFound"), "MODEL_CONFIG"),
    "404 page": (html(404), "MODEL_CONFIG"),
    "413": (says(413, "RequestEntityTooLarge"), "MODEL_CONFIG"),
    "422": (says(422, "Invalid"), "MODEL_CONFIG"),
    "429": (says(429, "TooManyRequests", {"retry-after": "3"}), "RATE_LIMITED"),
    "500": (says(500, "InternalError"), "PROVIDER_UNAVAILABLE"),
    "503": (html(503), "PROVIDER_UNAVAILABLE"),
    "504": (says(504, "Timeout"), "PROVIDER_TIMEOUT"),
    "redirect": (answer(302, "", {"location": "http://127.0.0.1:1/"}), "MODEL_CONFIG"),
    "page": (html(200), "INVALID_OUTPUT"),
    "nothing": (answer(200), "INVALID_OUTPUT"),
    "a list": (answer(201, [1]), "INVALID_OUTPUT"),
    "no name": (answer(201, {"kind": "Job", "metadata": {}}), "INVALID_OUTPUT"),
    "too large": (chunked(b" " * 5_000_000), "INVALID_OUTPUT"),
    "closed without an answer": (raw(), "PROVIDER_UNAVAILABLE"),
    "reset": (reset, "PROVIDER_UNAVAILABLE"),
    "cut off": (raw(b"HTTP/1.1 201 X\r\ncontent-length: 9\r\n\r\n{"), "PROVIDER_UNAVAILABLE"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "PROVIDER_UNAVAILABLE"),
    "hang": (hang, "PROVIDER_TIMEOUT"),
    "drip": (drip, "PROVIDER_TIMEOUT"),
}


@pytest.mark.parametrize(("reply", "code"), REFUSED.values(), ids=REFUSED)
async def test_submission_refused(
    clients: Clients,
    peer: Peer,
    asked: GenerationRequested,
    reply: Reply,
    code: str,
) -> None:
    """A submission that fails has its code, and nothing is owed: it can be made again."""
    patience = SHORT if code == ErrorCode.PROVIDER_TIMEOUT else CALL_SECONDS
    peer.says(reply)
    async with jobs_at(peer.url, clients, call_seconds=patience) as service:
        error = await refusal(submitted(service, submission(asked)))
    assert (error.failure.code, error.final) == (code, False)
    assert TOKEN not in f"{error} {error.failure!r}"
    assert error.retry_after == (3 if code == ErrorCode.RATE_LIMITED else None)
    assert len(peer.received) == 1


NO_JOBS = {"kind": "JobList", "metadata": {"resourceVersion": "7"}, "items": []}
POLL_REFUSED = {
    **{name: row for name, row in REFUSED.items() if "404" not in name},
    "not among the Jobs": (answer(200, NO_JOBS), "JOB_LOST"),
    "404": (says(404, "NotFound"), "PROVIDER_UNAVAILABLE"),
    "404 of a proxy": (html(404), "PROVIDER_UNAVAILABLE"),
    "no list": (answer(200, {}), "INVALID_OUTPUT"),
}


@pytest.mark.parametrize(("reply", "code"), POLL_REFUSED.values(), ids=POLL_REFUSED)
async def test_poll_refused(
    clients: Clients,
    peer: Peer,
    asked: GenerationRequested,
    reply: Reply,
    code: str,
) -> None:
    """A poll that fails has its code; only the API itself can say that a Job is gone."""
    patience = SHORT if code == ErrorCode.PROVIDER_TIMEOUT else CALL_SECONDS
    peer.says(reply)
    polled = waiting(submission(asked), Job(id="j-1", polling_url=f"{NAMESPACE}/j-1"))
    async with jobs_at(peer.url, clients, call_seconds=patience) as service:
        error = await refusal(service.poll(polled))
    assert (error.failure.code, error.final) == (code, code == ErrorCode.JOB_LOST)
    assert TOKEN not in f"{error} {error.failure!r}"


async def test_too_large(clients: Clients, peer: Peer, asked: GenerationRequested) -> None:
    """A right answer that is too large is cut off, and not read to its end."""
    job = b'{"kind": "Job", "metadata": {"name": "j-1"}, "x": "%s"}' % (b"x" * 5_000_000)
    peer.says(chunked(job))
    async with jobs_at(peer.url, clients) as service:
        error = await refusal(submitted(service, submission(asked)))
    assert error.failure.code is ErrorCode.INVALID_OUTPUT
    assert "sent more than" in error.failure.detail


async def test_nobody_there(clients: Clients, asked: GenerationRequested) -> None:
    """A refused connection is an outage."""
    async with jobs_at(refusing_url(), clients) as service:
        error = await refusal(submitted(service, submission(asked)))
    assert error.failure.code is ErrorCode.PROVIDER_UNAVAILABLE


async def test_redirect_elsewhere(
    clients: Clients, peer: Peer, foreign: Peer, asked: GenerationRequested
) -> None:
    """A redirect is not followed, neither by a submission nor by a look-up: the token stays."""
    peer.says(answer(307, "", {"location": f"{foreign.url}/"}))
    foreign.says(answer(200, {}))
    polled = waiting(submission(asked), Job(id="j-1", polling_url=f"{NAMESPACE}/j-1"))
    async with jobs_at(peer.url, clients) as service:
        for call in (submitted(service, submission(asked)), service.poll(polled)):
            assert (await refusal(call)).failure.code is ErrorCode.MODEL_CONFIG
    assert foreign.received == []


async def test_proxy_variables_are_not_believed(
    kube: Kube,
    clients: Clients,
    peer: Peer,
    asked: GenerationRequested,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token does not go to whoever HTTP_PROXY names."""
    peer.says(answer(500))
    monkeypatch.setenv("HTTP_PROXY", peer.url)
    monkeypatch.setenv("http_proxy", peer.url)
    async with jobs_at(kube.url, clients) as service:
        await submitted(service, submission(asked))
    assert peer.received == []


async def test_unknown_namespace(kube: Kube, clients: Clients, asked: GenerationRequested) -> None:
    """A namespace that does not exist is for the operator to fix."""
    async with jobs_at(kube.url, clients, namespace="elsewhere") as service:
        error = await refusal(submitted(service, submission(asked)))
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert "elsewhere" in error.failure.detail


async def test_token_file(
    kube: Kube, clients: Clients, asked: GenerationRequested, tmp_path: Path
) -> None:
    """A token in a file is read again after a change; a lost file is named, a token never."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    async with jobs_at(kube.url, clients, token_file=file) as service:
        await submitted(service, submission(asked))
        kube.tokens = {"the-next-token"}
        error = await refusal(submitted(service, submission(asked, number=1)))
        assert error.failure.code is ErrorCode.AUTH_CONFIG
        file.write_text("the-next-token")
        await submitted(service, submission(asked, number=1))
        for spoil in (lambda: file.write_text(f"two\n{TOKEN}"), file.unlink):
            spoil()
            error = await refusal(submitted(service, submission(asked, number=2)))
            assert error.failure.code is ErrorCode.AUTH_CONFIG
            assert TOKEN not in repr(error.failure)


async def ends_with(service: KubernetesJobs, task: CollectTask) -> ProviderError:
    """The error that a poll ends with; the job is over."""
    error = await refusal(service.poll(task))
    assert error.final
    return error


EXITS = {
    64: "INVALID_INPUT",
    65: "INVALID_INPUT",
    75: "PROVIDER_UNAVAILABLE",
    76: "POLICY_OUTPUT",
    77: "POLICY_INPUT",
    78: "MODEL_CONFIG",
    1: "PROVIDER_UNAVAILABLE",
    137: "PROVIDER_UNAVAILABLE",
}


@pytest.mark.parametrize(("exit_code", "code"), EXITS.items())
async def test_exit_code(
    kube: Kube, service: KubernetesJobs, task: CollectTask, exit_code: int, code: str
) -> None:
    """The container says by its exit code what was wrong; operators read what it wrote."""
    await kube.fails(task.job.id, exit_code, message="the weights\nare gone")
    error = await ends_with(service, task)
    assert error.failure.code == code
    assert f"exited with {exit_code}" in error.failure.detail
    assert "the weights are gone" in error.failure.detail
    assert kube.deletions == []  # it has ended: its log stays for a while


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("resolution\n", "Check: resolution."),
        ("cfgScale", "Check: cfgScale."),
        ("<script>", None),
        ("the prompt is bad", None),
        ("", None),
    ],
)
async def test_hint_for_the_user(
    kube: Kube, service: KubernetesJobs, task: CollectTask, message: str, hint: str | None
) -> None:
    """A termination message that is a parameter's name is shown to the user, and nothing else."""
    await kube.fails(task.job.id, 64, message=message)
    assert (await ends_with(service, task)).failure.hint == hint


def ended(code: int, reason: str, name: str = "generate") -> dict[str, Any]:
    """A container's status."""
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}}


DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
PODS: dict[str, tuple[dict[str, Any], str]] = {
    "out of memory": ({"containerStatuses": [ended(137, "OOMKilled")]}, "MODEL_CONFIG"),
    "evicted": ({"reason": "Evicted", "message": "low on memory"}, "PROVIDER_UNAVAILABLE"),
    "preempted": (
        {"conditions": DISRUPTED, "containerStatuses": [ended(78, "Error")]},
        "PROVIDER_UNAVAILABLE",
    ),
    "node lost": ({"reason": "NodeLost"}, "PROVIDER_UNAVAILABLE"),
    "no such command": ({"containerStatuses": [ended(128, "StartError")]}, "MODEL_CONFIG"),
    "a sidecar failed too": (
        {"containerStatuses": [ended(1, "Error", "a-proxy"), ended(77, "Error")]},
        "POLICY_INPUT",
    ),
    "a sidecar's code is not the contract's": (
        {"containerStatuses": [ended(77, "Error", "a-proxy")]},
        "PROVIDER_UNAVAILABLE",
    ),
    "an init container failed": (
        {"initContainerStatuses": [ended(1, "Error", "weights")]},
        "PROVIDER_UNAVAILABLE",
    ),
    "no status": ({"containerStatuses": None}, "PROVIDER_UNAVAILABLE"),
}


@pytest.mark.parametrize(("pod", "code"), PODS.values(), ids=PODS)
async def test_failed_pod(
    kube: Kube, service: KubernetesJobs, task: CollectTask, pod: dict[str, Any], code: str
) -> None:
    """What happened to the pod has its code."""
    await kube.step(task.job.id, ("Failed", "BackoffLimitExceeded"), phase="Failed", **pod)
    assert (await ends_with(service, task)).failure.code == code


async def test_pod_under_the_newer_label(
    kube: Kube, service: KubernetesJobs, task: CollectTask
) -> None:
    """Pods are found by the label of today as by the one before Kubernetes 1.27."""
    await kube.fails(task.job.id, 77)
    labels = {"batch.kubernetes.io/job-name": task.job.id}
    kube.pods[task.job.id]["metadata"]["labels"] = labels
    assert (await ends_with(service, task)).failure.code is ErrorCode.POLICY_INPUT


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("DeadlineExceeded", "PROVIDER_TIMEOUT"),
        ("BackoffLimitExceeded", "PROVIDER_UNAVAILABLE"),
        ("PodFailurePolicy", "PROVIDER_UNAVAILABLE"),
    ],
)
async def test_failed_without_a_pod(
    kube: Kube, service: KubernetesJobs, task: CollectTask, reason: str, code: str
) -> None:
    """A Job whose pod is gone, as after its deadline or with its node."""
    await kube.step(task.job.id, ("FailureTarget", reason), ("Failed", reason))
    assert (await ends_with(service, task)).failure.code == code


@pytest.mark.parametrize(
    "reason",
    ["ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"],
)
async def test_pod_that_never_starts(
    kube: Kube, service: KubernetesJobs, task: CollectTask, reason: str
) -> None:
    """What the kubelet would try until the deadline is reported at once, and the Job is deleted."""
    await kube.waits(task.job.id, reason)
    error = await ends_with(service, task)
    assert error.failure.code is ErrorCode.MODEL_CONFIG
    assert reason in error.failure.detail
    assert kube.jobs == {}


async def test_pod_that_starts(kube: Kube, service: KubernetesJobs, task: CollectTask) -> None:
    """A container that is being created is waited for."""
    await kube.waits(task.job.id, "ContainerCreating")
    assert await service.poll(task) == JobProgress()


async def test_conditions_that_do_not_hold(
    kube: Kube, service: KubernetesJobs, task: CollectTask
) -> None:
    """Only Complete and Failed, and only when they are True, are an end."""
    kube.jobs[task.job.id]["status"]["conditions"] = [
        {"type": "Complete", "status": "False"},
        {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"},
        {"type": "Suspended", "status": "True"},
    ]
    assert await service.poll(task) == JobProgress()
