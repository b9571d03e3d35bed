"""Secrets, prompts and links, searched for byte by byte in all that a full run leaves behind."""

import asyncio
import hashlib
import json
import os
import secrets
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client, WorkflowExecution, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from contracts.generation import GenerationState
from contracts.names import GENERATION_WORKFLOW
from deploy.local.commands.collector import Collector
from deploy.local.stack.local_stack import LocalStack
from peers.encryption import FILE_VARIABLE, PayloadEncryption, keyring, new_key
from starter.client import DuragenClient
from tests.lab import Lab
from tests.ports import free_port
from tests.starter.entry_points import duragen

PROMPT = "a-prompt-that-nobody-else-writes"
QUOTED = "a-prompt-that-an-image-service-quotes"
OTHERS = ("images", "odoo", "notifications", "store")
LINK = "X-Amz-Signature="
"""In every presigned link, and in nothing else."""


MORE = {
    "encryption_key": new_key(),
    "codec_key": secrets.token_urlsafe(),
    "wrong_key": secrets.token_urlsafe(),
    "query": secrets.token_urlsafe(),
    "previous_token": secrets.token_urlsafe(),
    "previous_signing_secret": "whsec_" + b64encode(secrets.token_bytes(24)).decode(),
    **{f"header for {peer}": secrets.token_urlsafe() for peer in ("images", "odoo", "notify")},
}
"""What the local stack does not set by itself."""


def tables() -> dict[str, Any]:
    """The settings that hold them."""
    own = {
        peer: {"headers": {"X-Own": MORE[f"header for {peer}"]}} for peer in ("images", "notify")
    }
    odoo = {name: MORE[name] for name in ("previous_token", "previous_signing_secret")}
    return {
        "providers": dict.fromkeys(("openai", "flux"), own["images"]),
        "odoo": odoo | {"headers": {"X-Own": MORE["header for odoo"]}},
        # The stack has both at one address.
        "notify": own["notify"],
        "alerts": own["notify"],
    }


class Left(NamedTuple):
    """What a run left behind, by where it was found."""

    secrets: dict[str, str]
    texts: dict[str, bytes]

    def holding(self, text: str, *kinds: str) -> list[str]:
        """Where the text stands, as it is or as JSON or a URL would write it."""
        spellings = {text.encode(), json.dumps(text)[1:-1].encode()}
        return [
            where
            for where, found in self.texts.items()
            if where.startswith(kinds) and any(each in found for each in spellings)
        ]


def children_of(pid: int) -> list[int]:
    """A process and all below it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    below = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(found for child in below for found in children_of(child))]


async def run_history(client: Client, run: WorkflowExecution) -> WorkflowHistory:
    """The history of one run."""
    return await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()


@asynccontextmanager
async def codec_server(stack: LocalStack) -> AsyncIterator[str]:
    """The codec server beside the stack; its log stands with the others."""
    digest = hashlib.sha256(MORE["codec_key"].encode()).hexdigest()
    port = free_port()
    table = {"port": port, "keys": [{"name": "ops", "sha256": digest}]}
    with stack.log_path("codec").open("w") as log:
        codec = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from starter.cli import main; main()", "codec"),
            env=os.environ | stack.environment | {"DURAGEN_CODEC": json.dumps(table)},
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}"
        codec.terminate()
        assert await codec.wait() == 0
    finally:
        if codec.returncode is None:
            codec.kill()
            await codec.wait()


async def ask_codec(url: str) -> list[int]:
    """A payload to decode, with a right key and a wrong one; what was answered."""
    ring = keyring(f"2026-11:{MORE['encryption_key']}")
    assert ring
    clear = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(QUOTED).encode())
    body = MessageToDict(Payloads(payloads=[PayloadEncryption(ring).encrypted(clear)]))
    # It may still be starting.
    transport = httpx.AsyncHTTPTransport(retries=30)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
        answers = [
            await http.post(f"{url}/decode", json=body, headers={"Authorization": f"Bearer {key}"})
            for key in (MORE["codec_key"], MORE["wrong_key"])
        ]
    return [answer.status_code for answer in answers]


async def ask_gateway(lab: Lab, event: dict[str, Any]) -> tuple[list[int], bytes]:
    """A start, one with a wrong key, one with a wrong field; what was answered."""
    url, right = f"{lab.stack.gateway_url}/v1/generations", lab.stack.secrets.api_key
    wrong = {**event, "requestId": str(uuid4()), "aspectRatio": PROMPT}
    answers = [
        await lab.http.post(url, json=body, headers={"Authorization": f"Bearer {key}"})
        for key, body in ((right, event), (MORE["wrong_key"], event), (right, wrong))
    ]
    answers.append(
        await lab.http.get(
            f"{url}/{event['requestId']}",
            params={"token": MORE["query"]},
            headers={"Authorization": f"Bearer {right}"},
        )
    )
    return [each.status_code for each in answers], b"".join(each.content for each in answers)


async def run_all(stack: LocalStack) -> dict[str, bytes]:
    """Generations that end in every way, and the commands an operator types; what they print."""
    client = await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)
    said: dict[str, bytes] = {}
    ours = DuragenClient(stack.temporal_address)

    async def command(*words: str) -> None:
        done = await duragen(*words, **stack.environment)
        said[f"command {' '.join(words)}"] = (done.out + done.err).encode()

    async with Lab.open(stack, client) as lab, codec_server(stack) as codec:

        def event(**changes: Any) -> dict[str, Any]:
            request = lab.request(**{"prompt": PROMPT, **changes})
            return request.model_dump(mode="json", by_alias=True, exclude_none=True)

        async def started(**changes: Any) -> str:
            return (await asyncio.to_thread(ours.start, event(**changes))).request_id

        async def ended(request_id: str) -> None:
            handle = client.get_workflow_handle(f"generation-{request_id}")
            while (await handle.describe()).close_time is None:
                await asyncio.sleep(0.05)

        over_http = event(model_id=lab.flux_request().model_id)
        answered, said["answers of the gateway"] = await ask_gateway(lab, over_http)
        assert answered == [202, 401, 422, 200]
        happy = [await started(), over_http["requestId"]]
        for each in happy:
            await ended(each)
        key = stack.secrets.provider_keys["openai"]
        sent = f"{key}, {MORE['header for images']}"
        said_no = f"Incorrect key: {sent}. Your prompt: {QUOTED}"
        await lab.break_images({"kind": "status", "status": 401, "body": said_no})
        refused = await started(prompt=QUOTED)
        await ended(refused)
        await lab.clear_faults()
        await lab.break_odoo(status=404)
        parked = await started()
        handle = client.get_workflow_handle(f"generation-{parked}")
        await lab.reaches(handle, GenerationState.PARKED)
        await command("parked")
        await command("parked", "--json")
        await lab.clear_faults()
        await command("redeliver", parked)
        await ended(parked)
        looks = (["failed"], ["failed", "--json"], ["doctor"], ["status", refused])
        more = (["status", "--json", happy[0]], ["watch", happy[0]], ["replay", happy[0]])
        await asyncio.gather(*(command(*words) for words in (*looks, *more)))
        assert await ask_codec(codec) == [200, 401]
        histories = [
            # As protobuf: in JSON all that we hand to Temporal would be base64.
            b"".join(event.SerializeToString() for event in (await run_history(client, run)).events)
            async for run in client.list_workflows(f"WorkflowType = '{GENERATION_WORKFLOW}'")
        ]
    said["histories"] = b"".join(histories)
    assert len(histories) == 4
    return said


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """A whole stack, run and looked through."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.touch(0o600)
    # With `clear` first, what is searched is not encrypted.
    keys.write_text(f"clear\n2026-11:{MORE['encryption_key']}\n")
    with Collector() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
        patch.setenv(FILE_VARIABLE, str(keys))
        with LocalStack(tmp_path_factory.mktemp("leaks"), overrides=tables()) as stack:
            texts = asyncio.run(run_all(stack))
            for part in stack.parts:
                for pid in children_of(stack.supervisor(part).pid or 0):
                    # The other side: its programs are given their own secrets in variables.
                    for name in ("cmdline",) if part in OTHERS else ("cmdline", "environ"):
                        texts[f"{name} {part} {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            known = asdict(stack.secrets) | MORE
        # The worker sends its last spans while it leaves.
        texts["traces"] = b"".join(collector.bodies)
        for part in (*stack.parts, "codec"):
            texts[f"log {part}"] = stack.log_path(part).read_bytes()
        texts["settings"] = stack.config_path.read_bytes() + keys.read_bytes()
        texts["database"] = b"".join(
            file.read_bytes() for file in (stack.home / "temporal").iterdir()
        )
        by_kind = {f"key of {kind}": key for kind, key in known.pop("provider_keys").items()}
        yield Left(known | by_kind, texts)


SECRETS = (
    *("api_key", "s3_secret_key", "odoo_token", "odoo_signing_secret", "odoo_password"),
    *("developer_key", "notify_token", "store_key", "key of openai", "key of flux", *MORE),
)


def test_every_secret_is_looked_for(left: Left) -> None:
    """The list is complete, and the search finds: the settings file has what a worker needs."""
    assert {*SECRETS, "s3_access_key"} == set(left.secrets)
    # Of callers' keys there are hashes; one is the store's own, one Odoo's; two are nowhere.
    needed = set(SECRETS) - {
        "api_key",
        "codec_key",
        "store_key",
        "wrong_key",
        "query",
        "developer_key",
    }
    assert all(left.holding(left.secrets[name], "settings") for name in needed)
    assert left.holding(PROMPT, "histories", "database") == ["histories", "database"]
    assert b"submit_generation" in left.texts["traces"]
    assert left.texts["log worker"].count(b"\n") > 3
    assert b"/v1/generations" in left.texts["traces"]
    assert b'"caller": "local"' in left.texts["log gateway"]
    assert b'"caller": "ops"' in left.texts["log codec"]
    assert str(os.getpid()) not in {where.split()[-1] for where in left.texts}


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_anywhere(left: Left, name: str) -> None:
    """Not in logs, histories, the database, traces, `ps`, environments, nor what commands print."""
    found = left.holding(left.secrets[name], *(set(left.texts) - {"settings"}))
    assert found == []


def test_no_link_is_kept(left: Left) -> None:
    """A presigned link opens the image to whoever reads it: none is written down."""
    ours = ("log worker", "log gateway", "histories", "database", "traces", "command")
    assert left.holding(LINK, *ours) == []


def test_no_prompt_leaves_the_histories(left: Left) -> None:
    """A prompt is personal: logs, traces and commands do without, unless an error quotes it."""
    ours = ("log worker", "log gateway", "log temporal", "log store", "traces", "command")
    assert left.holding(PROMPT, *ours) == []


def test_a_prompt_that_a_service_quotes_is_in_no_trace(left: Left) -> None:
    """Texts of errors are for operators: logs and commands show them, traces do not."""
    assert left.holding(QUOTED, "log worker") == ["log worker"]
    assert left.holding(QUOTED, "command status") != []
    assert left.holding(QUOTED, "traces", "log gateway", "log temporal", "log store") == []
    assert b"AUTH_CONFIG" in left.texts["traces"]
