"""What Temporal's server keeps on its disk, searched byte by byte for prompts."""

import asyncio
import base64
import json
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError

from contracts.events import GenerationRequested
from contracts.generation import GenerationState, Outcome
from deploy.local.stack.local_stack import LocalStack
from peers import temporal
from peers.encryption import KEYS_VARIABLE, new_key
from tests.lab import Handle, Lab

pytestmark = pytest.mark.timeout(300)


class Words:
    """A prompt that is found whole or in part: a word of its own, and letters that JSON escapes."""

    def __init__(self) -> None:
        self.word = f"Wilhelmina{uuid4().hex}"
        self.prompt = f'a portrait of "{self.word}" of Ødegård, 7 years old'

    def forms(self) -> dict[str, bytes]:
        """How it might stand there. Whatever is around it, a word in base64 has three forms."""
        found = {
            "the prompt": self.prompt.encode(),
            "the prompt in JSON": json.dumps(self.prompt).encode(),
            "the word": self.word.encode(),
            "the word in UTF-16": self.word.encode("utf-16-le"),
            "the word in hexadecimal": self.word.encode().hex().encode(),
        }
        for shift in range(3):
            shifted = base64.b64encode(bytes(shift) + self.word.encode())
            # What the letters before and after have a part in is left out.
            found[f"the word in base64, {shift}"] = shifted[4 if shift else 0 : -4]
        return found


def test_the_search_finds_base64_at_any_place() -> None:
    """Otherwise it would prove nothing."""
    words = Words()
    for before in ("", "x", "xy", "xyz"):
        encoded = base64.b64encode(f"{before}{words.prompt}".encode())
        found = [name for name, form in words.forms().items() if form in encoded]
        assert len(found) == 1, (before, found)


async def _through_the_gateway(lab: Lab, request: GenerationRequested) -> Handle:
    answer = await lab.http.post(
        f"{lab.stack.gateway_url}/v1/generations",
        content=request.model_dump_json(exclude_none=True),
        headers={
            "Authorization": f"Bearer {lab.stack.secrets.api_key}",
            "Content-Type": "application/json",
        },
    )
    assert answer.status_code == 202, answer.text
    return lab.client.get_workflow_handle(answer.json()["workflowId"], result_type=Outcome)


async def _everything_happens(lab: Lab, words: Words) -> None:
    """An image; failures that quote the prompt; one canceled; one that Odoo does not take."""

    def request() -> GenerationRequested:
        return lab.request(prompt=words.prompt, negative_prompt=f"blurred {words.word}")

    outcome = await (await _through_the_gateway(lab, request())).result()
    assert outcome.image

    echo = {"error": {"message": f"no rights to paint {words.prompt}", "type": "invalid"}}
    await lab.break_images({"kind": "status", "status": 401, "body": echo})
    failing = await _through_the_gateway(lab, request())
    with pytest.raises(WorkflowFailureError) as failed:
        await failing.result()
    assert words.word in str(failed.value.cause), "the service's text is not in the failure"

    await lab.break_images({"kind": "status", "status": 400, "body": echo})
    outcome = await (await _through_the_gateway(lab, request())).result()
    assert outcome.failure

    await lab.break_images({"kind": "hang"})
    hanging = await _through_the_gateway(lab, request())
    await lab.reaches(hanging, GenerationState.GENERATING)
    await hanging.cancel()
    with pytest.raises(WorkflowFailureError):
        await hanging.result()

    await lab.clear_faults()
    await lab.break_odoo(status=404)
    parked = await _through_the_gateway(lab, request())
    await lab.reaches(parked, GenerationState.PARKED)
    assert (await (await parked.describe()).memo())["parked"]


def _found(folder: Path, words: Words) -> set[str]:
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert sum(map(len, files)) > 100_000, "the server's database is not here"
    return {name for name, form in words.forms().items() if any(form in data for data in files)}


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "in clear"])
async def test_prompts_are_not_on_the_servers_disk(
    encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keys in no form, whatever happened to the generation; without, they are there."""
    monkeypatch.setenv(KEYS_VARIABLE, f"2026-11:{new_key()}" if encrypted else "")
    words = Words()
    stack = LocalStack(tmp_path / "home")
    await asyncio.to_thread(stack.start)
    try:
        converter = temporal.data_converter()
        client = await Client.connect(stack.temporal_address, data_converter=converter)
        async with Lab.open(stack, client) as lab:
            await _everything_happens(lab, words)
    finally:
        await asyncio.to_thread(stack.stop)
    found = _found(stack.home / "temporal", words)
    if encrypted:
        assert found == set()
    else:
        assert {"the word", "the prompt in JSON"} & found
