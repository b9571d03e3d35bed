"""Secrets, prompts and links, searched for byte by byte in all that a full run leaves behind."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from temporalio.client import Client, WorkflowExecution, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from contracts.generation import GenerationState
from contracts.names import GENERATION_WORKFLOW
from deploy.local.commands.collector import Collector
from deploy.local.stack.local_stack import LocalStack
from starter.client import DuragenClient
from tests.lab import Lab
from tests.starter.entry_points import duragen

PROMPT = "a-prompt-that-nobody-else-writes"
QUOTED = "a-prompt-that-an-image-service-quotes"
OTHERS = ("images", "odoo", "notifications", "store")
LINK = "X-Amz-Signature="
"""In every presigned link, and in nothing else."""


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


async def run_all(stack: LocalStack) -> dict[str, bytes]:
    """Generations that end in every way, and the commands an operator types; what they print."""
    client = await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)
    said: dict[str, bytes] = {}
    ours = DuragenClient(stack.temporal_address)

    async def command(*words: str) -> None:
        done = await duragen(*words, **stack.environment)
        said[f"command {' '.join(words)}"] = (done.out + done.err).encode()

    async with Lab.open(stack, client) as lab:

        async def started(**changes: Any) -> str:
            request = lab.request(**{"prompt": PROMPT, **changes})
            event = request.model_dump(mode="json", by_alias=True, exclude_none=True)
            return (await asyncio.to_thread(ours.start, event)).request_id

        async def ended(request_id: str) -> None:
            handle = client.get_workflow_handle(f"generation-{request_id}")
            while (await handle.describe()).close_time is None:
                await asyncio.sleep(0.05)

        happy = [await started(), await started(model_id=lab.flux_request().model_id)]
        for each in happy:
            await ended(each)
        key = stack.secrets.provider_keys["openai"]
        said_no = f"Incorrect key: {key}. Your prompt: {QUOTED}"
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
        for words in (["failed"], ["failed", "--json"], ["doctor"], ["status", "--json", happy[0]]):
            await command(*words)
        await command("status", refused)
        await command("watch", happy[0])
        await command("replay", happy[0])
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
    with Collector() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with LocalStack(tmp_path_factory.mktemp("leaks")) as stack:
            texts = asyncio.run(run_all(stack))
            for part in stack.parts:
                for pid in children_of(stack.supervisor(part).pid or 0):
                    # The other side: its programs are given their own secrets in variables.
                    for name in ("cmdline",) if part in OTHERS else ("cmdline", "environ"):
                        texts[f"{name} {part} {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            known = asdict(stack.secrets)
        # The worker sends its last spans while it leaves.
        texts["traces"] = b"".join(collector.bodies)
        for part in stack.parts:
            texts[f"log {part}"] = stack.log_path(part).read_bytes()
        texts["settings"] = stack.config_path.read_bytes()
        texts["database"] = b"".join(
            file.read_bytes() for file in (stack.home / "temporal").iterdir()
        )
        by_kind = {f"key of {kind}": key for kind, key in known.pop("provider_keys").items()}
        yield Left(known | by_kind, texts)


SECRETS = (
    *("api_key", "s3_secret_key", "odoo_token", "odoo_signing_secret", "odoo_password"),
    *("notify_token", "store_key", "key of openai", "key of flux"),
)


def test_every_secret_is_looked_for(left: Left) -> None:
    """The list is complete, and the search finds: the settings file has what a worker needs."""
    assert {*SECRETS, "s3_access_key"} == set(left.secrets)
    # Of the first the gateway has the hash; the second is the store's own.
    needed = set(SECRETS) - {"api_key", "store_key"}
    assert all(left.holding(left.secrets[name], "settings") for name in needed)
    assert left.holding(PROMPT, "histories", "database") == ["histories", "database"]
    assert b"submit_generation" in left.texts["traces"]
    assert left.texts["log worker"].count(b"\n") > 3
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
    """A prompt is personal: logs, traces and commands do without."""
    ours = ("log worker", "log gateway", "log temporal", "log store", "traces", "command")
    assert left.holding(PROMPT, *ours) == []


def test_a_prompt_that_a_service_quotes_is_in_no_trace(left: Left) -> None:
    """Texts of errors are for operators: logs and commands show them, traces do not."""
    assert left.holding(QUOTED, "log worker") == ["log worker"]
    assert left.holding(QUOTED, "command status") != []
    assert left.holding(QUOTED, "traces", "log gateway", "log temporal", "log store") == []
    assert b"AUTH_CONFIG" in left.texts["traces"]
