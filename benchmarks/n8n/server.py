"""N8N beside the sandboxes of a stack, with the workflow that does what Duragen does, or less.

Wherever there is a choice, it is in N8N's favour:

- one process with SQLite, without a queue, a reverse proxy or encrypted credentials;
- nothing of an execution is stored when it succeeds, its progress neither, and as many run at once
  as there are;
- the webhook answers as soon as it has the request;
- the image is neither looked at nor stored: the callback hands it on as it came, which is how it
  gets to Odoo without a store; no signature and no hash, which Odoo is made to accept. Its size is
  a constant: reading it in an expression would cost N8N a fifth of its CPU.

`handed_on=False` throws the image away: the callback carries a link that leads nowhere. Nobody has
an image then; it shows what N8N needs for the rest.

Expressions run in N8N's own isolation, as they do by default. `N8N_EXPRESSION_ENGINE=legacy` needs
half the CPU; N8N calls it no longer secure and will remove it.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.load import event
from benchmarks.n8n.install import N8n
from deploy.local.sandbox.images.protocols import PROTOCOLS
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import PortRegistry
from deploy.local.stack.private import private_folder, write_private
from deploy.local.stack.supervisor import Part, Supervisor

WORKFLOW = Path(__file__).with_name("workflow.json")
WORKFLOW_ID = "duragenbenchmark"
PARTS = ("images", "odoo")
"""Of the stack: N8N takes the place of all others."""


@contextmanager
def n8n_beside(stack: LocalStack, n8n: N8n, *, handed_on: bool = True) -> Iterator[str]:
    """N8N with a database of its own and its workflow, to the end of the block.

    `handed_on`: Odoo gets the image. Gives the address that takes EVT-AIG-001.
    """
    home = private_folder(stack.home / "n8n")
    registry = PortRegistry(home / "ports.json")
    port = registry.pick("n8n")
    environment = _environment(home, port, registry.pick("n8n_broker"))
    webhook_url = f"http://{HOST}:{port}/webhook/generations"

    def probe() -> None:
        # N8N says that it is ready before its workflows' webhooks are; first of all it answers
        # everything with 200 and a page, which is no JSON.
        answer = httpx.post(webhook_url, json=event(stack), timeout=5, trust_env=False)
        answer.raise_for_status().json()

    command = (str(n8n.node), str(n8n.program))
    part = Part("n8n", (*command, "start"), probe, environment, ready_seconds=60, stop_seconds=40)
    supervisor = Supervisor(part, home, print)
    try:
        file = home / "workflow.json"
        write_private(file, _workflow(stack, handed_on=handed_on))
        _run(environment, *command, "import:workflow", f"--input={file}")
        _run(environment, *command, "publish:workflow", f"--id={WORKFLOW_ID}")
        _without_signature(stack)
        supervisor.start()
        supervisor.wait()
        yield webhook_url
    finally:
        supervisor.stop()
        registry.release()


def _run(environment: Mapping[str, str], *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = done.stdout + done.stderr
        raise RuntimeError(f"{' '.join(command)} failed:\n{said[-2_000:]}")


def _environment(home: Path, port: int, broker_port: int) -> dict[str, str]:
    """N8N's settings: what its documentation offers for speed, and no calls home."""
    return environment_of_part(
        {
            "N8N_USER_FOLDER": str(home),
            "TMPDIR": str(home),  # it leaves things there
            "N8N_LISTEN_ADDRESS": HOST,
            "N8N_PORT": str(port),
            "N8N_RUNNERS_BROKER_PORT": str(broker_port),
            "N8N_CONCURRENCY_PRODUCTION_LIMIT": "-1",
            "EXECUTIONS_DATA_SAVE_ON_SUCCESS": "none",
            "EXECUTIONS_DATA_SAVE_ON_PROGRESS": "false",
            "EXECUTIONS_DATA_SAVE_MANUAL_EXECUTIONS": "false",
            "N8N_LOG_LEVEL": "warn",
            "NODE_ENV": "production",
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_PERSONALIZATION_ENABLED": "false",
            "N8N_PYTHON_ENABLED": "false",
            "N8N_DISABLED_MODULES": "insights,mcp-registry",
        }
    )


def _workflow(stack: LocalStack, *, handed_on: bool) -> str:
    [openai] = [each for each in PROTOCOLS if each.kind == "openai"]
    text = WORKFLOW.read_text()
    link = "imageUrl: 'IMAGES_URL/images/' + $('Webhook').item.json.body.requestId"
    for name, value in (
        ("IMAGE ", f"{'imageData: $json.data[0].b64_json' if handed_on else link} "),
        ("IMAGES_URL", stack.images_url),
        ("IMAGES_KEY", stack.secrets.provider_keys[openai.kind]),
        ("IMAGES_MODEL", openai.model),
        ("ODOO_TOKEN", stack.secrets.odoo_token),
    ):
        text = text.replace(name, value)
    return text


def _without_signature(stack: LocalStack) -> None:
    """N8N has no node that signs by Standard Webhooks: the token alone is looked at."""
    secrets = {"tokens": [stack.secrets.odoo_token], "signing_secrets": []}
    url = f"{stack.odoo_url}/_sandbox/secrets"
    httpx.put(url, json=secrets, trust_env=False).raise_for_status()
