"""What `duragen up` says when everything runs: where to look, and a first request to paste."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from uuid import uuid4

from deploy.local.real_odoo.configure import Login
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.config import BUCKET, CALLBACK_PATH, TWO_ROUTES_MODEL_ID
from deploy.local.stack.local_stack import LocalStack


def welcome(stack: LocalStack, people: Collection[Login] = ()) -> str:
    """The whole text. The request's ids are fresh; pasting it twice starts one generation.

    `people` can log in to the real Odoo that was set up beside the stack.
    """
    whose = "the sandbox" if "odoo" in stack.parts else "a real one" if people else "yours"
    rows = {
        "Web UI": stack.ui_url,
        "Odoo": f"{stack.odoo_url}  ({whose})",
        **_logins(people),
        **_informed(stack),
        "gateway": f"{stack.gateway_url}  (its documentation: {stack.gateway_url}/docs)",
        "API key": stack.secrets.api_key,
        **_developer(stack),
        "image service": f"{stack.images_url}  (calls: {stack.images_url}/_sandbox/calls)",
        "S3": f"{stack.s3_url}  (bucket {BUCKET}, keys in the settings)",
        "Temporal": stack.temporal_address,
        "FLUX model": str(FLUX_MODEL_ID),
        "OpenAI model": str(OPENAI_MODEL_ID),
        "two routes": str(TWO_ROUTES_MODEL_ID),
        "settings": _short(stack.config_path),
        "logs": f"{_short(stack.log_path('worker').parent)}/PART.log  ({', '.join(stack.parts)})",
    }
    table = "\n".join(f"  {name:<14} {value}" for name, value in rows.items())
    return f"""Duragen runs.

{table}

Ask for an image:

{_asking(stack, people)}

{_as_developer(stack)}\
{_by_hand(stack)}It is for one person's machine: Temporal and the sandboxes ask for no key.
Ctrl-C ends everything; what is stored is kept for the next start."""


def _logins(people: Collection[Login]) -> dict[str, str]:
    """Who can log in to the real Odoo: login and password."""
    if not people:
        return {}
    logins = ", ".join(f"{who.login}/{who.password}" for who in people)
    return {"logins": logins}


def _informed(stack: LocalStack) -> dict[str, str]:
    """Where notifications and alerts can be seen."""
    rows = {}
    if "notifications" in stack.parts:
        rows["notifications"] = f"{stack.notifications_url}  (the sandbox)"
    if "notifications" in stack.parts or stack.alerts_url != stack.notifications_url:
        whose = "the sandbox" if stack.alerts_url == stack.notifications_url else "yours"
        rows["Alertmanager"] = f"{stack.alerts_url}  ({whose})"
    return rows


def _asking(stack: LocalStack, people: Collection[Login]) -> str:
    """A request of a real Odoo begins in Odoo: it would refuse the outcome of any other."""
    if "odoo" in stack.parts:
        return _curl(stack)
    if people:
        return f"  log in as portal, and write a prompt at {stack.odoo_url}/my/images"
    return f"""  write a prompt at {stack.odoo_url}/my/images; what your Odoo has not asked for, it
  refuses, and the outcome is parked. Its settings (docs/odoo.md) have the gateway and the API key
  from above, the token and the signing secret of [[odoo]] in {_short(stack.config_path)},
  and {stack.s3_url} as the image store's address; its models have the ids from above."""


def _developer(stack: LocalStack) -> dict[str, str]:
    """What an app of an API user needs; keys of a real Odoo are made there."""
    rows = {"webhooks to": f"{HOST}:{stack.ports.receiver}  (a receiver of your own)"}
    if "odoo" not in stack.parts:
        return rows
    granted = f"{stack.options.credits} credits at first"
    return {"developer key": f"{stack.secrets.developer_key}  ({granted})", **rows}


def _as_developer(stack: LocalStack) -> str:
    """The developer API's first call; pasting it twice starts one generation."""
    if "odoo" not in stack.parts:
        return ""
    wanted = {"prompt": "a lighthouse at dawn, watercolour", "modelId": str(FLUX_MODEL_ID)}
    return f"""Ask for one as an app with a developer key, and wait for it (docs/api.md):

  curl {stack.gateway_url}/v1/generate \\
    -H 'Authorization: Bearer {stack.secrets.developer_key}' \\
    -H 'Content-Type: application/json' -H 'Prefer: wait=60' -H 'Idempotency-Key: {uuid4()}' \\
    -d '{json.dumps(wanted)}'

"""


def _curl(stack: LocalStack) -> str:
    event = {
        "requestId": str(uuid4()),
        "correlationId": str(uuid4()),
        "userId": str(uuid4()),
        "prompt": "a lighthouse at dawn, oil on canvas",
        "modelId": str(FLUX_MODEL_ID),
        "resolution": "1024x1024",
        "aspectRatio": "1:1",
        "callbackUrl": stack.odoo_url + CALLBACK_PATH,
    }
    body = ",\n    ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in event.items())
    return f"""  curl {stack.gateway_url}/v1/generations \\
    -H 'Authorization: Bearer {stack.secrets.api_key}' -H 'Content-Type: application/json' -d '{{
    {body}
  }}'"""


def _by_hand(stack: LocalStack) -> str:
    """How to run what was left out."""
    missing = [part for part in ("worker", "gateway") if part not in stack.parts]
    if not missing:
        return ""
    environment = " ".join(f"{name}={value}" for name, value in stack.environment.items())
    lines = [f"  {environment} duragen {part}" for part in missing]
    return "By hand:\n\n" + "\n".join(lines) + "\n\n"


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
