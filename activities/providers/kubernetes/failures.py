"""Why a Job made no image: its condition, its pods' states, its container's exit code.

Decided by reasons and codes alone. Their texts are for operators.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from activities.errors import ProviderError
from activities.providers.errors import parameter_hint
from activities.providers.kubernetes.job_object import CONTAINER
from activities.providers.kubernetes.objects import Condition, JobRef, Pod, Terminated
from contracts.errors import ErrorCode

MAX_MESSAGE_CHARACTERS = 300

_NEVER_STARTS = {
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "ImageInspectError",
    "InvalidImageName",
    "SignatureValidationFailed",
    "CreateContainerConfigError",  # a Secret that does not exist
}
"""Reasons for which the kubelet tries again and again, until the Job's deadline."""

_CANNOT_RUN = {"StartError", "ContainerCannotRun"}
"""The image has no such command."""

_DISRUPTED = {"Evicted", "Preempting", "NodeLost", "NodeShutdown", "NodeAffinity", "Terminated"}
"""A pod's own reasons, where no condition DisruptionTarget says it."""


class _Exit(NamedTuple):
    code: ErrorCode
    meaning: str


EXITS: Mapping[int, _Exit] = {
    64: _Exit(ErrorCode.INVALID_INPUT, "the request cannot be used"),
    65: _Exit(ErrorCode.INVALID_INPUT, "the request's data are wrong"),
    75: _Exit(ErrorCode.PROVIDER_UNAVAILABLE, "a passing trouble"),
    76: _Exit(ErrorCode.POLICY_OUTPUT, "the image goes against the rules"),
    77: _Exit(ErrorCode.POLICY_INPUT, "the prompt goes against the rules"),
    78: _Exit(ErrorCode.MODEL_CONFIG, "the container's configuration is wrong"),
}
"""The contract with the container, near to sysexits.h; every other code is a passing trouble."""

_OTHER = _Exit(ErrorCode.PROVIDER_UNAVAILABLE, "a code without a meaning of its own")


def is_outlived(pods: Iterable[Pod]) -> bool:
    """Whether our container has ended well, and one that the cluster added keeps its pod alive.

    Then the Job never completes, and fails at its deadline (istio/istio#11045).
    """
    return any(ended_well(pod) and _still_runs(pod) for pod in pods)


def ended_well(pod: Pod) -> bool:
    """Whether our container has made its image, whatever the others of its pod did."""
    ends = [c.state.terminated for c in pod.status.containers if c.name == CONTAINER]
    return any(end is not None and end.exit_code == 0 for end in ends)


def _still_runs(pod: Pod) -> bool:
    return any(container.state.terminated is None for container in pod.status.containers)


def never_starts(ref: JobRef, pods: Iterable[Pod]) -> ProviderError | None:
    """What keeps a pod from ever running; None when nothing does."""
    for pod in pods:
        for container in pod.status.containers:
            waiting = container.state.waiting
            if waiting and waiting.reason in _NEVER_STARTS:
                what = f"does not start: {waiting.reason}"
                return _failure(ErrorCode.MODEL_CONFIG, ref, what, waiting.message)
    return None


def failure_of(ref: JobRef, end: Condition, pods: Iterable[Pod]) -> ProviderError:
    """Why the Job, whose condition `Failed` is `end`, has failed; it is over."""
    if end.reason == "DeadlineExceeded":
        return _failure(ErrorCode.PROVIDER_TIMEOUT, ref, "took longer than its route allows")
    pods = list(pods)
    ends = [each for pod in pods for each in _ends(pod)]
    if any(each.reason == "OOMKilled" for each, _ in ends):
        what = "was killed out of memory: raise resources.limits.memory among the parameters"
        return _failure(ErrorCode.MODEL_CONFIG, ref, what)
    for pod in pods:
        reason = _disruption(pod)
        if reason:
            what = f"lost its pod: {reason}"
            return _failure(ErrorCode.PROVIDER_UNAVAILABLE, ref, what, pod.status.message)
    for each, is_ours in ends:
        if each.reason in _CANNOT_RUN:
            what = f"cannot run its command: {each.reason}"
            return _failure(ErrorCode.MODEL_CONFIG, ref, what, each.message)
        # Another container's codes are not the contract's.
        code, meaning = EXITS.get(each.exit_code, _OTHER) if is_ours else _OTHER
        error = _failure(code, ref, f"exited with {each.exit_code}, {meaning}", each.message)
        if code is ErrorCode.INVALID_INPUT:
            hint = parameter_hint((each.message or "").strip())
            error.failure = error.failure.model_copy(update={"hint": hint})
        return error
    what = f"failed ({end.reason}), and no pod is left that says why"
    return _failure(ErrorCode.PROVIDER_UNAVAILABLE, ref, what, end.message)


def _ends(pod: Pod) -> list[tuple[Terminated, bool]]:
    """How its containers failed, and whether it is ours: it comes before those of the cluster."""
    failed = [
        (container.state.terminated, container.name == CONTAINER)
        for container in pod.status.containers
        if container.state.terminated and container.state.terminated.exit_code != 0
    ]
    return sorted(failed, key=lambda each: not each[1])


def _disruption(pod: Pod) -> str | None:
    for condition in pod.status.conditions or ():
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return condition.reason or condition.type
    return pod.status.reason if pod.status.reason in _DISRUPTED else None


def _failure(code: ErrorCode, ref: JobRef, what: str, message: str | None = None) -> ProviderError:
    said = " ".join((message or "").split())[:MAX_MESSAGE_CHARACTERS]
    detail = f"the Job {ref} {what}: {said}" if said else f"the Job {ref} {what}"
    # On a cluster of one's own a Job that is over costs nothing more.
    return ProviderError(code, detail, final=True, perhaps_paid=False)
