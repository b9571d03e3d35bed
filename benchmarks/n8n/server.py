"""N8N beside the sandboxes of a stack, with the workflow that does what Duragen does, or less.

What becomes of the image is one of three (`Image`):

- `stored`: the equal job. The image is decoded from base64, hashed and written to the store; Odoo
  gets the object's address and the hash. It is the whole of `workflow.json`; `check_stored` proves
  it.
- `handed on`: the callback hands the base64 on as it came. No store, no hash.
- `thrown away`: the callback has a link that leads nowhere. Nobody has an image then; it shows what
  N8N needs for the rest.

Wherever there is a choice, it is in N8N's favour:

- one process with SQLite, without a queue or a reverse proxy; keys stand in the workflow in plain
  text, but for the store's, which its node takes only as a credential;
- nothing of an execution is stored when it succeeds, its progress neither, and as many run at once
  as there are;
- the webhook answers as soon as it has the request;
- the image is not looked at: its size is a constant, and no expression reads it, which would cost
  N8N a fifth of its CPU. Behind the node that decodes it, no item carries the base64;
- hashing and storing are two branches, for the node that hashes passes no image on; N8N runs them
  one after the other, the upper one first, so that no further node need join them;
- decoded images stay in memory (`N8N_DEFAULT_BINARY_DATA_MODE=default`), not in files, as N8N has
  it by default: 77 ms in place of 92 one at a time (p50) on a busy machine, at 50 in flight the
  same CPU, 164 and 165 ms;
- no look into the store before the write, no condition on it, and its link is the plain address,
  which nobody signs and nobody can open without a key;
- no signature of the callback, which Odoo is made to accept.

Expressions run in N8N's own isolation, as they do by default. `N8N_EXPRESSION_ENGINE=legacy` needs
half the CPU; N8N calls it no longer secure and will remove it.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx

from benchmarks.load import IMAGE_BYTES, event, store_client
from deploy.local.n8n.install import N8n
from deploy.local.n8n.server import N8nServer
from deploy.local.sandbox.images import painter
from deploy.local.sandbox.images.protocols import PROTOCOLS
from deploy.local.stack.config import BUCKET
from deploy.local.stack.local_stack import LocalStack

WORKFLOW = Path(__file__).with_name("workflow.json")
CREDENTIAL_ID = "duragenbenchmarkstore"
_WEBHOOK = "/webhook/generations"

_FAST = {
    # What its documentation offers for speed.
    "N8N_CONCURRENCY_PRODUCTION_LIMIT": "-1",
    "EXECUTIONS_DATA_SAVE_ON_SUCCESS": "none",
    "EXECUTIONS_DATA_SAVE_ON_PROGRESS": "false",
    "EXECUTIONS_DATA_SAVE_MANUAL_EXECUTIONS": "false",
    "N8N_DEFAULT_BINARY_DATA_MODE": "default",
}

Image = Literal["stored", "handed on", "thrown away"]
"""What becomes of it."""

PARTS: dict[Image, tuple[str, ...]] = {
    "stored": ("store", "images", "odoo"),
    "handed on": ("images", "odoo"),
    "thrown away": ("images", "odoo"),
}
"""Of the stack: N8N takes the place of all others."""

_OUTCOMES: dict[Image, str] = {
    "stored": "imageUrl: 'STORE_URL/BUCKET/generations/' + REQUEST_ID + '.png',"
    " hashValue: $('Hash the image').first().json.sha256",
    "handed on": "imageData: $json.data[0].b64_json, hashValue: 'none'",
    "thrown away": "imageUrl: 'IMAGES_URL/images/' + REQUEST_ID, hashValue: 'none'",
}
"""The part of the callback that differs, as N8N's expression."""


class NotStoredError(Exception):
    """N8N has not stored what it says; the text has the request."""


@contextmanager
def n8n_beside(stack: LocalStack, n8n: N8n, image: Image) -> Iterator[tuple[N8nServer, str]]:
    """N8N with a database of its own and its workflow, to the end of the block.

    The stack has the parts of that `image`. The address is the one that takes EVT-AIG-001.
    """

    def probe(url: str) -> None:
        answer = httpx.post(url + _WEBHOOK, json=event(stack), timeout=5, trust_env=False)
        answer.raise_for_status().json()

    server = N8nServer(n8n, stack.home / "n8n", probe, settings=_FAST)
    server.load([_credential(stack)], [_workflow(stack, image)])
    _without_signature(stack)
    with server:
        yield server, server.url + _WEBHOOK


def _workflow(stack: LocalStack, image: Image) -> dict[str, Any]:
    [openai] = [each for each in PROTOCOLS if each.kind == "openai"]
    text = WORKFLOW.read_text()
    for name, value in (
        ("OUTCOME", _OUTCOMES[image]),
        ("REQUEST_ID", "$('Webhook').item.json.body.requestId"),
        ("STORE_URL", stack.s3_url),
        ("BUCKET", BUCKET),
        ("IMAGES_URL", stack.images_url),
        ("IMAGES_KEY", stack.secrets.provider_keys[openai.kind]),
        ("IMAGES_MODEL", openai.model),
        ("ODOO_TOKEN", stack.secrets.odoo_token),
    ):
        text = text.replace(name, value)
    workflow: dict[str, Any] = json.loads(text)
    if image != "stored":
        # Past the nodes between: nothing leads to them any more.
        after = workflow["connections"]
        after["Make the image"] = after["Store the image"]
    return workflow


def _credential(stack: LocalStack) -> dict[str, Any]:
    keys = {
        "endpoint": stack.s3_url,
        "region": "us-east-1",
        "accessKeyId": stack.secrets.s3_access_key,
        "secretAccessKey": stack.secrets.s3_secret_key,
        "forcePathStyle": True,
    }
    return {"id": CREDENTIAL_ID, "name": "Store", "type": "s3", "data": keys}


def check_stored(stack: LocalStack) -> None:
    """All that Odoo has so far is in the store: the image service's bytes, and their SHA-256.

    Raises NotStoredError, and ClientError of boto3 for an object that is not there.
    """
    s3 = store_client(stack)
    made = painter.noise(IMAGE_BYTES)
    sha256 = hashlib.sha256(made).hexdigest()
    deliveries = httpx.get(f"{stack.odoo_url}/_sandbox/deliveries", trust_env=False).json()
    outcomes = [json.loads(delivery["body"]) for delivery in deliveries]
    for outcome in outcomes:
        key = outcome["imageUrl"].removeprefix(f"{stack.s3_url}/{BUCKET}/")
        found = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        if found != made or outcome["hashValue"] != sha256:
            raise NotStoredError(f"request {outcome['requestId']}: not the image, or not its hash")
    if not outcomes:
        raise NotStoredError("Odoo has nothing yet")


def _without_signature(stack: LocalStack) -> None:
    """N8N has no node that signs by Standard Webhooks: the token alone is looked at."""
    secrets = {"tokens": [stack.secrets.odoo_token], "signing_secrets": []}
    url = f"{stack.odoo_url}/_sandbox/secrets"
    httpx.put(url, json=secrets, trust_env=False).raise_for_status()
