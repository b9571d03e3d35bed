"""The Job that is created: what the container gets, and what a route may say of it."""

import json
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient

from activities.errors import ProviderError
from activities.providers.kubernetes.job_object import MAX_VARIABLE_BYTES, job_name, job_object
from activities.providers.kubernetes.objects import JobRef
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.tasks import SubmitTask
from tests.activities.kube_calls import submission
from tests.activities.provider_calls import refusal

FULL: dict[str, Any] = {
    "command": ["python", "-m", "make"],
    "args": ["--steps=4"],
    "env": {"AWS_ENDPOINT_URL": "http://s3:9000"},
    "env_from_secret": "s3-writer",
    "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "16Gi"}, "requests": {"cpu": "500m"}},
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "service_account": "painter",
    "security": {"run_as_user": 1000},
    "output_format": "webp",
}


def made(task: SubmitTask) -> dict[str, Any]:
    """The Job's object."""
    return job_object(task, JobRef("images", job_name(task, "run-1")), "bucket-1", 600)


def container(task: SubmitTask) -> dict[str, Any]:
    """Its container."""
    found: dict[str, Any] = made(task)["spec"]["template"]["spec"]["containers"][0]
    return found


def variables(task: SubmitTask) -> dict[str, str]:
    """The variables that the container gets."""
    return {each["name"]: each["value"] for each in container(task)["env"]}


class _Body:
    """What the library's reader takes."""

    def __init__(self, thing: object) -> None:
        self.data = json.dumps(thing)


@pytest.mark.parametrize("parameters", [{}, FULL], ids=["bare", "full"])
async def test_only_fields_that_kubernetes_knows(
    asked: GenerationRequested, parameters: dict[str, Any]
) -> None:
    """The library's own model of a Job, made from the published schema, loses nothing of ours."""
    job = made(submission(asked, **parameters))
    async with ApiClient() as api:
        read = api.deserialize(_Body(job), "V1Job")
        assert api.sanitize_for_serialization(read) == json.loads(json.dumps(job))


def test_one_run_and_an_end(asked: GenerationRequested) -> None:
    """Kubernetes tries nothing again, ends the Job at its deadline, and deletes it some day."""
    job = made(submission(asked))
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 120)
    assert spec["ttlSecondsAfterFinished"] == 600
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["spec"]["automountServiceAccountToken"] is False
    assert job["metadata"]["labels"] == {
        "app.kubernetes.io/name": "duragen",
        "duragen.io/request-id": str(asked.request_id),
    }


def test_the_container_may_do_little(asked: GenerationRequested) -> None:
    """Not root, no way to become it, no capabilities, the runtime's system calls: "restricted"."""
    pod = made(submission(asked))["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_an_image_cannot_live_with(asked: GenerationRequested) -> None:
    """Each of the limits can be lifted for a route by itself; the others stay."""
    lifted = made(submission(asked, security={"run_as_non_root": False, "run_as_user": 0}))
    pod = lifted["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": False,
        "runAsUser": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    other = {"drop_capabilities": ["NET_RAW"], "allow_privilege_escalation": True}
    assert container(submission(asked, security=other))["securityContext"] == {
        "allowPrivilegeEscalation": True,
        "capabilities": {"drop": ["NET_RAW"]},
    }


@pytest.mark.usefixtures("correlated")
def test_ids_for_whoever_looks(asked: GenerationRequested) -> None:
    """Job, pod and container carry the correlationId, and a traceparent of the same trace."""
    task = submission(asked)
    job = made(task)
    annotations = job["metadata"]["annotations"]
    assert job["spec"]["template"]["metadata"]["annotations"] == annotations
    assert annotations["duragen.io/correlation-id"] == str(asked.correlation_id)
    assert asked.correlation_id.hex in annotations["duragen.io/traceparent"]
    assert asked.correlation_id.hex in json.loads(variables(task)["DURAGEN_REQUEST"])["traceparent"]


def test_the_request(asked: GenerationRequested) -> None:
    """The container gets the request as JSON and the place of its result."""
    task = submission(asked, **FULL)
    env = variables(task)
    assert json.loads(env.pop("DURAGEN_REQUEST")) == {
        "requestId": str(asked.request_id),
        "correlationId": str(asked.correlation_id),
        "prompt": asked.prompt,
        "negativePrompt": asked.negative_prompt,
        "width": 128,
        "height": 96,
        "seed": 7,
        "inferenceSteps": 20,
        "cfgScale": 6.5,
        "outputFormat": "webp",
    }
    assert env == {
        "AWS_ENDPOINT_URL": "http://s3:9000",
        "DURAGEN_RESULT_BUCKET": "bucket-1",
        "DURAGEN_RESULT_KEY": f"jobs/{job_name(task, 'run-1')}.webp",
    }


def test_a_prompt_reads_no_secret(asked: GenerationRequested) -> None:
    """Kubernetes would put the variable's value in the place of $(NAME): there is no $ to find."""
    prompt = 'a $(AWS_SECRET_ACCESS_KEY) in neon, $$(HOME) ü 🦊 \\ " \n \0'
    env = variables(submission(asked.model_copy(update={"prompt": prompt})))["DURAGEN_REQUEST"]
    assert "$" not in env
    assert json.loads(env)["prompt"] == prompt


async def test_a_prompt_that_fits_in_no_variable(asked: GenerationRequested) -> None:
    """128 KiB are Linux's end for one variable; the user learns what to shorten."""

    async def make(characters: int) -> object:
        return made(submission(asked.model_copy(update={"prompt": "🦊" * characters})))

    await make(32_000 * 9 // 10)
    huge = asked.model_copy(update={"prompt": "🦊" * 32_000, "negative_prompt": "🦊" * 32_000})

    async def make_huge() -> object:
        return made(submission(huge))

    error = await refusal(make_huge())
    assert (error.failure.code, error.failure.hint) == (ErrorCode.INVALID_INPUT, "Check: prompt.")
    env = variables(submission(asked.model_copy(update={"prompt": "🦊" * 28_800})))
    assert len(f"DURAGEN_REQUEST={env['DURAGEN_REQUEST']}\0".encode()) <= MAX_VARIABLE_BYTES


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt": ({"comand": ["x"]}, "comand: Extra inputs"),
    "a text for a list": ({"command": "python"}, "command: "),
    "a resource without a unit": ({"resources": {"limits": {"memory": "a lot"}}}, "limits.memory"),
    "limits misspelt": ({"resources": {"limit": {}}}, "resources.limit"),
    "a variable's name": ({"env": {"A B": "x"}}, "env.A B"),
    "a number for a variable": ({"env": {"A": 1}}, "env.A"),
    "our variable": ({"env": {"DURAGEN_REQUEST": "{}"}}, "DURAGEN_ are Duragen's own"),
    "a secret's name": ({"env_from_secret": "S3 Writer"}, "env_from_secret"),
    "a format": ({"output_format": "gif"}, "output_format"),
    "security misspelt": ({"security": {"runAsNonRoot": False}}, "security.runAsNonRoot"),
    "a toleration": ({"tolerations": [{"effect": "Never"}]}, "tolerations.0.effect"),
}


@pytest.mark.parametrize(("parameters", "named"), WRONG.values(), ids=WRONG)
def test_wrong_parameters(
    asked: GenerationRequested, parameters: dict[str, Any], named: str
) -> None:
    """Parameters that make no Job are named, for the operator to fix; their values are not."""
    with pytest.raises(ProviderError) as caught:
        made(submission(asked, **parameters))
    assert caught.value.failure.code is ErrorCode.MODEL_CONFIG
    assert named in caught.value.failure.detail
    assert "a lot" not in caught.value.failure.detail


def test_names(asked: GenerationRequested) -> None:
    """One name for all tries of a submission; another for all that differs."""
    task = submission(asked)
    route = task.route
    others = [
        job_name(task, "run-2"),
        job_name(submission(asked, number=1), "run-1"),
        job_name(submission(asked, args=["--steps=4"]), "run-1"),
        job_name(SubmitTask(request=asked, route=route.model_copy(update={"model": "m"})), "run-1"),
        job_name(
            SubmitTask(request=asked, route=route.model_copy(update={"provider": "l"})), "run-1"
        ),
    ]
    name = job_name(task, "run-1")
    assert name == job_name(SubmitTask.model_validate_json(task.model_dump_json()), "run-1")
    assert len({name, *others}) == 6
    assert name.startswith(f"duragen-{asked.request_id}-")
    assert len(name) <= 63 - len("-x7k2p")
