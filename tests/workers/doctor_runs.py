"""`duragen doctor` as a process of its own, on a stack where no other test leaves anything."""

from dataclasses import asdict

from deploy.local.stack.local_stack import LocalStack
from tests.workers.worker_process import DOCTOR, Ended, environment, run


async def doctor(stack: LocalStack, **variables: str) -> Ended:
    """Run it to its end; whatever it finds, it shows no secret and no traceback."""
    ended = await run(*DOCTOR, env=environment(stack, **variables))
    said = ended.out + ended.err
    assert "Traceback" not in said
    secrets = asdict(stack.secrets)
    secrets |= secrets.pop("provider_keys")
    assert not [name for name, secret in secrets.items() if secret in said]
    return ended


def wrong(ended: Ended) -> list[str]:
    """The lines that are not well."""
    return [line for line in ended.out.splitlines() if not line.startswith("ok    ")]


def spare(stack: LocalStack) -> dict[str, str]:
    """A third provider, in the doctor's settings alone."""
    table = {
        "KIND": "openai",
        "BASE_URL": stack.images_url,
        "API_KEY": stack.secrets.provider_keys["openai"],
    }
    return {f"DURAGEN_PROVIDERS__SPARE__{name}": value for name, value in table.items()}
