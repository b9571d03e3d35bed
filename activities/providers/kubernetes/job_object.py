"""The Job that makes one image: its name, its parameters, its object.

The contract with the container (docs/settings.md has it for its authors): the request is in
`DURAGEN_REQUEST` as JSON, the image goes to `DURAGEN_RESULT_KEY` in the bucket
`DURAGEN_RESULT_BUCKET`, and the exit code says what was wrong.
"""

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from activities.errors import ProviderError
from activities.providers.kubernetes.objects import JobRef
from activities.providers.kubernetes.security import Security
from contracts.errors import ErrorCode
from contracts.generation import Route
from contracts.names import JOBS_PREFIX, job_prefix
from contracts.tasks import SubmitTask
from otel.correlation import outgoing_headers

CONTAINER = "generate"
REQUEST_ID_LABEL = "duragen.io/request-id"

MAX_VARIABLE_BYTES = 128 * 1024
"""Linux: of one variable with its name and a final zero, or the container does not start."""

_OURS = "DURAGEN_"

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_.-][A-Za-z0-9_.-]*$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$")]


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(_Checked):
    """Of the container; `limits` is where a GPU is asked for."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class Toleration(_Checked):
    """Of a taint, such as the one that GPU nodes usually have."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute", ""] = ""


class JobParameters(_Checked):
    """What a route's `parameters` may say."""

    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[Variable, str] = {}
    env_from_secret: Name | None = None
    resources: Resources = Resources()
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    service_account: Name | None = None
    annotations: dict[str, str] = {}
    """Of the pod, such as `sidecar.istio.io/inject = "false"`."""
    security: Security = Security()
    output_format: Literal["png", "jpeg", "webp"] = "png"


def job_name(task: SubmitTask, run_id: str) -> str:
    """`duragen-{requestId}-{digest}`, 53 characters.

    The same for every try of one submission, so that trying again finds what was made before;
    another one for a job that is submitted again, for a run that was reset, and for a route that
    differs in its parameters alone (more memory, for instance).
    """
    route = task.route
    parts = run_id, route.provider, route.model, route.parameters, task.number
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{job_prefix(task.request.request_id)}{digest[:8]}"


def result_key(name: str, route: Route) -> str:
    """Where the container of the Job `name` puts its image: `jobs/{name}.{format}`."""
    return f"{JOBS_PREFIX}{name}.{route.image_format}"


def job_object(task: SubmitTask, ref: JobRef, bucket: str, ttl_seconds: int) -> dict[str, Any]:
    """The Job as it is created.

    Raises ProviderError: MODEL_CONFIG for parameters that cannot be used, INVALID_INPUT for a
    prompt that fits in no variable.
    """
    try:
        given = parameters_of(task.route)
    except ValueError as error:
        raise ProviderError(ErrorCode.MODEL_CONFIG, str(error)) from None
    labels = {
        "app.kubernetes.io/name": "duragen",
        REQUEST_ID_LABEL: str(task.request.request_id),
    }
    annotations = {"duragen.io/correlation-id": str(task.request.correlation_id)}
    traceparent = outgoing_headers().get("traceparent")
    if traceparent:
        annotations["duragen.io/traceparent"] = traceparent
    env = {
        **given.env,
        "DURAGEN_REQUEST": _request(task, given.output_format, traceparent),
        "DURAGEN_RESULT_BUCKET": bucket,
        "DURAGEN_RESULT_KEY": result_key(ref.name, task.route),
    }
    container = {
        "name": CONTAINER,
        "image": task.route.model,
        "command": given.command,
        "args": given.args,
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "envFrom": given.env_from_secret and [{"secretRef": {"name": given.env_from_secret}}],
        "resources": _filled(given.resources.model_dump(mode="json")),
        "securityContext": given.security.of_container,
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [_filled(container)],
        "nodeSelector": given.node_selector,
        "tolerations": [_filled(each.model_dump()) for each in given.tolerations],
        "serviceAccountName": given.service_account,
        "securityContext": given.security.of_pod,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            # One run: the taxonomy decides what is tried again, and each try is recorded.
            "backoffLimit": 0,
            "activeDeadlineSeconds": math.ceil(task.route.timeout_seconds),
            "ttlSecondsAfterFinished": ttl_seconds,
            # A pod that is evicted or preempted would be replaced otherwise.
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    }
                ]
            },
            "template": {
                "metadata": {"labels": labels, "annotations": given.annotations | annotations},
                "spec": {
                    **_filled(pod),
                    # Whoever writes prompts should not come near the cluster's API through a model.
                    "automountServiceAccountToken": given.service_account is not None,
                    "enableServiceLinks": False,
                },
            },
        },
    }


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if value
    }


def parameters_of(route: Route) -> JobParameters:
    """The route's parameters, checked. Raises ValueError without their values, in one text."""
    try:
        given = JobParameters.model_validate(route.parameters)
    except ValidationError as error:
        # Without the values: one of them may be a secret.
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]
        )
        raise ValueError(_unusable(route, faults)) from None
    taken = [name for name in given.env if name.startswith(_OURS)]
    if taken:
        why = f"env.{taken[0]}: names that begin with {_OURS} are Duragen's own"
        raise ValueError(_unusable(route, why))
    return given


def _unusable(route: Route, faults: str) -> str:
    return f"the parameters of the route {route.provider}, {route.model} make no Job: {faults}"


def _request(task: SubmitTask, image_format: str, traceparent: str | None) -> str:
    request = task.request
    width, height = request.size
    fields = {
        "requestId": str(request.request_id),
        "correlationId": str(request.correlation_id),
        "traceparent": traceparent,
        "prompt": request.prompt,
        "negativePrompt": request.negative_prompt,
        "width": width,
        "height": height,
        "seed": request.seed,
        "inferenceSteps": request.inference_steps,
        "cfgScale": request.cfg_scale,
        "outputFormat": image_format,
    }
    text = json.dumps({k: v for k, v in fields.items() if v is not None}, ensure_ascii=False)
    # Kubernetes puts variables in place of $(NAME): a prompt must not read the secrets' ones.
    text = text.replace("$", "\\u0024")
    if len(f"DURAGEN_REQUEST={text}\0".encode()) > MAX_VARIABLE_BYTES:
        raise ProviderError(
            ErrorCode.INVALID_INPUT,
            f"the request takes more than {MAX_VARIABLE_BYTES} bytes, more than a variable holds",
            hint="Check: prompt.",
        )
    return text
